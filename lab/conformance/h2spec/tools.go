//go:build tools

// Package h2spec pins what the program of that name is built from: it has no go.mod of its own.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
