"""How the figures of a job went: a few hundred of them at most, and their peaks."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer_core.events import Gauges
from trainer_core.jobs.gauges.peaks import Peaks
from trainer_core.jobs.thinned import Thinned


@dataclass
class GaugeHistory:
    """The figures of a job in the order of time, thinned out, and their peaks."""

    series: Thinned[Gauges] = field(default_factory=Thinned[Gauges])
    peaks: Peaks = field(default_factory=Peaks)

    def take(self, gauges: Gauges) -> None:
        """Adds what was measured."""
        self.peaks.take(gauges)
        self.series.take(gauges)

    def gpu(self, name: str, index: int) -> list[float]:
        """The figures with this name of one GPU, as far as the driver told them."""
        found = (getattr(gpu, name) for gauges in self.series.kept for gpu in gauges.gpus if gpu.index == index)
        return [float(value) for value in found if value is not None]

    def machine(self, name: str) -> list[float]:
        """The figures with this name of the job or the machine, as far as they are known."""
        found = (getattr(gauges, name) for gauges in self.series.kept)
        return [float(value) for value in found if value is not None]
