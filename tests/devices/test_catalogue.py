"""The catalogue as a whole: enough of everything, in a plausible order, and every figure with its source."""

import re

import pytest

from edgesim.devices.device import Device
from edgesim.devices.profiles import devices, links

FIGURES = ("training", "ram", "bandwidth", "idle", "sparse_efficiency", "step_overhead", "usable")
FAMILIES = {"mcu": 4, "sbc": 5, "sbc-gpu": 5, "phone": 12, "tablet": 2, "laptop": 3, "gateway": 2, "server": 2}


def test_there_are_devices_and_links_of_every_kind() -> None:
    families = [device.device_class for device in devices().values()]
    assert all(families.count(family) >= least for family, least in FAMILIES.items())
    assert len(families) >= 40
    kinds = {"wifi-home", "lte", "5g", "ethernet", "ble", "nb-iot", "lorawan", "satellite-leo", "3g"}
    assert kinds <= set(links())


@pytest.mark.parametrize("name", devices())
def test_every_device_is_sourced_and_plausible(name: str) -> None:
    """Each figure group has its source; energy per FLOP lies between a GPU's 0.02 and an MCU's 3 nJ."""
    device = devices()[name]
    assert device.name == name
    text = " ".join(device.sources)
    figures = FIGURES + ("battery",) * (device.battery_j is not None) + ("levels",) * bool(device.levels)
    assert all(figure in text for figure in figures)
    assert all(re.search(r"\((high|medium|low)\b", source) for source in device.sources)
    assert 0.02e-9 < device.training_w / device.compute_flops < 3e-9
    assert 0 < device.idle_w < device.training_w
    assert device.ram_bytes / 2 <= device.memory_bytes < device.ram_bytes
    assert 1e6 < device.compute_flops < 1e13
    assert 0.03 < device.compute_flops / device.bandwidth_bytes_per_s < 30  # FLOPs for each byte moved
    assert device.compute_sigma <= 1


@pytest.mark.parametrize("name", links())
def test_every_link_is_sourced_and_plausible(name: str) -> None:
    """Energy per byte sent: 0.001 uJ on a cable to 8 mJ on LoRaWAN SF12."""
    link = links()[name]
    assert link.name == name
    assert all(figure in " ".join(link.sources) for figure in ("rate", "latency", "power"))
    assert all(re.search(r"\((high|medium|low)\b", source) for source in link.sources)
    assert 0.001e-6 < 8 * link.send_w / link.up_bps < 8.1e-3
    assert 1 <= link.up_bps <= link.down_bps < 1e10
    assert 1e-4 < link.latency_s <= 2


def test_microcontrollers_are_below_boards_below_servers() -> None:
    rates = {name: device.compute_flops for name, device in devices().items()}
    assert rates["nrf52840"] < rates["stm32h7"] < rates["esp32-s3"] < rates["raspberry-pi-zero-2w"]
    boards = ["raspberry-pi-zero-2w", "raspberry-pi-3b-plus", "raspberry-pi-4", "raspberry-pi-5", "orange-pi-5"]
    jetsons = ["jetson-nano", "jetson-tx2", "jetson-xavier-nx", "jetson-orin-nano", "jetson-agx-orin", "server-t4"]
    for row in (boards, jetsons):
        assert [rates[name] for name in row] == sorted(rates[name] for name in row)


def phones(label: str, by: str) -> list[Device]:
    years, classes = ("2017", "2018", "2019"), ("low", "mid", "high")
    names = [f"phone-{label}-{year}" for year in years] if by == "year" else [f"phone-{c}-{label}" for c in classes]
    return [devices()[name] for name in names]


@pytest.mark.parametrize(
    ("label", "by"), [*((c, "year") for c in ("low", "mid", "high")), *((y, "class") for y in ("2017", "2018", "2019"))]
)
def test_phones_get_faster_by_year_and_by_class(label: str, by: str) -> None:
    rates = [phone.compute_flops for phone in phones(label, by)]
    assert rates == sorted(set(rates))
    memories = [phone.ram_bytes for phone in phones(label, by)]
    assert memories == sorted(memories)


def test_links_are_in_the_order_that_everybody_knows() -> None:
    rates = {name: link.down_bps for name, link in links().items()}
    order = ["lorawan-sf12", "lorawan", "nb-iot", "ble", "3g", "lte", "wifi-home", "5g", "ethernet", "5g-mmwave"]
    assert [rates[name] for name in order] == sorted(rates[name] for name in order)
    assert links()["ethernet"].latency_s < links()["wifi-home"].latency_s < links()["satellite-geo"].latency_s


def test_figures_that_the_sources_give_as_distributions_are() -> None:
    """Speed tests of 5G: sd of ln down 0.81, of ln up 0.44, correlation 0.27."""
    low_band = links()["5g"]
    assert (low_band.down_sigma, low_band.up_sigma, low_band.correlation) == (0.81, 0.44, 0.27)
    assert all(phone.compute_sigma > 0 for phone in phones("2019", "class"))
