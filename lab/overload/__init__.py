"""Up to ten times more load than can be served: what is lost, which requests are refused, and how fast it recovers."""
