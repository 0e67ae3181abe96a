"""The carbon intensities of a scenario."""

from pathlib import Path

from edgesim.devices.carbon import CarbonIntensity, national, read_carbon

NATIONAL = "national"


def intensities(text: str, folder: Path) -> CarbonIntensity:
    """Those of that name, or of the file of that path, which counts from `folder`.

    Raises:
        ScenarioError: no such file, or what in it cannot be.
    """
    return national() if text == NATIONAL else read_carbon(folder / text)
