"""What a service says on its metrics page."""


def total(page: str, name: str, *labels: str) -> float:
    """The sum of a metric's samples that have these labels, each as it is written: `method="POST"`."""
    samples = (line for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
    return sum(float(line.rpartition(" ")[2]) for line in samples if all(label in line for label in labels))
