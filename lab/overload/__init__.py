"""Up to ten times more load than can be served: what is lost, who is refused, and how fast it is over."""
