"""Latency over throughput, ours and etcd's, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw(
    curves: Mapping[str, Sequence[tuple[float, float, float]]],
    labels: Sequence[int],
    file: Path,
) -> None:
    """Draw (per second, p50 ms, p99 ms) of each curve; `labels` are the concurrencies."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, points in curves.items():
        rates = [rate for rate, _, _ in points]
        (line,) = axes.plot(rates, [p50 for _, p50, _ in points], marker="o", label=f"{name} p50")
        axes.plot(
            rates,
            [p99 for _, _, p99 in points],
            marker="x",
            linestyle="--",
            color=line.get_color(),
            label=f"{name} p99",
        )
        for (rate, p50, _), workers in zip(points, labels, strict=True):
            axes.annotate(f"C={workers}", (rate, p50), textcoords="offset points", xytext=(4, -12))
    axes.set(
        xlabel="puts of 1 KB a second",
        ylabel="latency, ms",
        yscale="log",
        title="Three members on one machine, fdatasync on",
    )
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=120)
