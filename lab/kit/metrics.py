"""Values of a metrics page."""


def total(page: str, name: str, *labels: str) -> float:
    """Return the sum of a metric's samples that have these labels, each as it is written: `method="POST"`."""
    samples = (line for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
    return sum(float(line.rpartition(" ")[2]) for line in samples if all(label in line for label in labels))
