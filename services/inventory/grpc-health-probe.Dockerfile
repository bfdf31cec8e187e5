# The inventory's image with grpc_health_probe added, for k8s/overlays/grpc-health-probe:
#   docker build --file services/inventory/grpc-health-probe.Dockerfile --build-arg INVENTORY_IMAGE=holdfast-inventory:1.2.3 \
#     --tag holdfast-inventory-grpc-health-probe:1.2.3 .
ARG INVENTORY_IMAGE
ARG GO_IMAGE=golang:1.25-bookworm

FROM ${GO_IMAGE} AS build
RUN ["env", "CGO_ENABLED=0", "GOBIN=/usr/local/bin", "go", "install", "-trimpath", "-ldflags", "-s -w", \
     "github.com/grpc-ecosystem/grpc-health-probe@v0.4.42"]

FROM ${INVENTORY_IMAGE}
COPY --from=build /usr/local/bin/grpc-health-probe /usr/local/bin/grpc_health_probe
