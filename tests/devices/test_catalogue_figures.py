"""The catalogue in base units beside what its sources say: a kilo, a milli or an eighth too many would show here."""

import re
from math import log

import pytest

from edgesim.devices.link import Link
from edgesim.devices.profiles import devices, links

GiB, MiB, KiB = 2**30, 2**20, 2**10
# training GFLOP/s and its range, RAM in bytes, memory bandwidth in GB/s, idle W, training W, battery Wh, eta
BOARDS = {
    "esp32-s3": (0.15, 0.04, 0.3, 8 * MiB + 512 * KiB, 0.1, 0.11, 0.30, None, 0.6),
    "stm32h7": (0.06, 0.03, 0.12, 1.2e6, 1.1, 0.02, 0.14, None, 0.6),
    "stm32u5": (0.03, 0.01, 0.06, 768 * KiB, 0.6, 0.005, 0.026, None, 0.6),
    "stm32l4": (0.02, 0.01, 0.05, 640 * KiB, 0.48, 0.005, 0.045, None, 0.6),
    "raspberry-pi-zero-2w": (2.5, 1, 4, 512 * MiB, 3.6, 0.6, 2.1, None, 0.45),
    "raspberry-pi-3b-plus": (4, 2, 6, 1 * GiB, 3.6, 2.0, 5.5, None, 0.45),
    "raspberry-pi-4": (9, 4, 13, 4 * GiB, 12.8, 3.1, 6.6, None, 0.45),
    "raspberry-pi-5": (22, 12, 32, 8 * GiB, 17.1, 3.0, 10, None, 0.45),
    "coral-dev": (4.5, 2, 7, 1 * GiB, 12.8, 2.8, 4.5, None, 0.45),
    "jetson-nano": (70, 30, 110, 4 * GiB, 25.6, 1.9, 8.5, None, 0.05),
    "jetson-tx2": (190, 90, 300, 8 * GiB, 59.7, 3.0, 13, None, 0.05),
    "jetson-xavier-nx": (270, 130, 400, 8 * GiB, 59.7, 3.5, 14, None, 0.05),
    "jetson-orin-nano": (400, 200, 640, 8 * GiB, 68, 4.0, 13, None, 0.05),
    "phone-low": (2, 0.6, 4, 3 * GiB, 10, 0.03, 1.3, 17, 0.45),
    "phone-mid": (6, 1.8, 15, 4 * GiB, 14.9, 0.03, 1.8, 15.4, 0.45),
    "pixel-4": (20, 6, 36, 6 * GiB, 34, 0.03, 2.0, 10.8, 0.45),
    "pixel-6": (35, 10, 60, 8 * GiB, 51, 0.03, 3.5, 17.8, 0.45),
    "tablet-mid": (7, 2, 16, 4 * GiB, 14.9, 0.05, 2.2, 27, 0.45),
    "laptop-ultrabook": (130, 60, 200, 8 * GiB, 38, 5, 22, 50, 0.26),
    "gateway-n100": (55, 25, 80, 8 * GiB, 38, 6, 22, None, 0.26),
    "server-xeon": (280, 150, 400, 64 * GiB, 115, 60, 145, None, 0.26),
    "server-t4": (2700, 1500, 4500, 16 * GiB, 320, 45, 130, None, 0.05),
}
# down and up in bit/s, latency in s, receiving and sending in W, energy of a tail in J
RADIOS = {
    "ble": (0.7e6, 0.7e6, 0.030, 0.0175, 0.0175, 0),
    "wifi-iot": (10e6, 10e6, 0.025, 0.29 - 0.11, 0.95 - 0.11, 0),
    "lorawan": (48, 48, 1, 0.36e-3, 0.01 * 0.044 * 3.3, 0),
    "lorawan-sf12": (1.46, 1.46, 1, 0.36e-3, 0.01 * 0.044 * 3.3, 0),
    "nb-iot": (60e3, 40e3, 2, 0.2, 0.75, 0.5),
    "3g": (4e6, 1e6, 0.1, 0.818 + 0.12212 * 4, 0.818 + 0.86898, 6.4),
    "lte": (36e6, 11e6, 0.040, 0.40 + 0.0150 * 36, 0.57 + 0.0795 * 11, 1.2),
    "lte-city": (117e6, 31e6, 0.089, 0.40 + 0.0150 * 117, 0.57 + 0.0795 * 31, 1.2),
    "5g": (118e6, 73e6, 0.058, 0.56 + 0.0154 * 118, 0.88 + 0.0322 * 73, 10.3 * 0.255),
    "5g-sa": (40e6, 39e6, 0.062, 0.56 + 0.0154 * 40, 0.88 + 0.0322 * 39, 10.4 * 0.593),
    "5g-mmwave": (944e6, 77e6, 0.052, 2.9 + 0.00176 * 944, 3.3 + 0.00915 * 77, 10.4 * 1.09),
    "wifi-home": (86e6, 46e6, 0.021, 0.35 + 0.004 * 86, 0.35 + 0.008 * 46, 0.24 * 0.12),
}
SPREAD = {  # of the logarithms of down and up, and their correlation
    "lte-city": (0.70, 0.57, 0.65),
    "5g": (0.81, 0.44, 0.27),
    "5g-sa": (0.34, 0.12, 0.21),
    "5g-mmwave": (1.06, 0.47, 0.20),
}
NUMBER = r"([\d.]+)"


@pytest.mark.parametrize("name", BOARDS)
def test_a_device_has_the_figures_of_its_sources(name: str) -> None:
    rate, low, high, ram_bytes, bandwidth, idle_w, training_w, battery_wh, eta = BOARDS[name]
    device = devices()[name]
    assert device.compute_flops == pytest.approx(rate * 1e9)
    assert low <= rate <= high
    assert device.ram_bytes == pytest.approx(ram_bytes)
    assert device.bandwidth_bytes_per_s == pytest.approx(bandwidth * 1e9)
    assert (device.idle_w, device.training_w) == pytest.approx((idle_w, training_w))
    assert device.battery_j == (None if battery_wh is None else pytest.approx(battery_wh * 3600))
    assert device.sparse_efficiency == eta
    assert f"({low:g}-{high:g} GFLOP/s)" in " ".join(device.sources)


@pytest.mark.parametrize("name", RADIOS)
def test_a_link_has_the_figures_of_its_sources(name: str) -> None:
    link = links()[name]
    found = (link.down_bps, link.up_bps, link.latency_s, link.receive_w, link.send_w, link.tail_j)
    assert found == pytest.approx(RADIOS[name], rel=5e-3)
    assert link.promotion_s == (0.6 if name == "3g" else 0.8 if name.startswith(("lte", "5g")) else 0)
    if name in SPREAD:
        assert (link.down_sigma, link.up_sigma, link.correlation) == SPREAD[name]


def test_a_byte_costs_what_was_measured() -> None:
    """Joules a byte that is sent: 8.0 mJ under LoRaWAN SF12 and 0.24 under SF7 by airtime, 100-360 uJ under NB-IoT,
    0.1-0.3 over Bluetooth, 0.4-0.8 by a microcontroller's Wi-Fi."""
    sent_j = {name: 8 * link.send_w / link.up_bps for name, link in links().items()}
    assert sent_j["lorawan-sf12"] == pytest.approx(8.0e-3, rel=0.01)
    assert sent_j["lorawan"] == pytest.approx(0.24e-3, rel=0.01)
    assert 100e-6 <= sent_j["nb-iot"] <= 360e-6
    assert 0.1e-6 <= sent_j["ble"] <= 0.3e-6
    assert 0.4e-6 <= sent_j["wifi-iot"] <= 0.8e-6


@pytest.mark.parametrize("link", links().values(), ids=lambda link: link.name)
def test_what_the_sources_of_a_link_work_out_is_what_it_has(link: Link) -> None:
    """`0.40 + 0.0150 x 36 = 0.94 W`, at the rate that the link has, and `(ln 75 - ln 48) / 1.349 = 0.33`."""
    said = " ".join(link.sources)
    rates, powers = (link.down_bps / 1e6, link.up_bps / 1e6), (link.receive_w, link.send_w)
    sums = re.findall(rf"{NUMBER} \+ {NUMBER} x {NUMBER} =\s+{NUMBER}\s+W", said)
    assert len(sums) in (0, 2)
    for (base, slope, at, power), rate_mbps, power_w in zip(sums, rates, powers, strict=False):
        assert float(at) == pytest.approx(rate_mbps)
        assert float(base) + float(slope) * float(at) == pytest.approx(float(power), abs=5e-4)
        assert float(power) == pytest.approx(power_w)
    for high, low, sigma in re.findall(rf"\(ln {NUMBER} - ln {NUMBER}\) / 1\.349 = {NUMBER}", said):
        assert (log(float(high)) - log(float(low))) / 1.349 == pytest.approx(float(sigma), abs=5e-3)
        assert float(sigma) == link.latency_sigma


def test_phones_of_a_class_and_a_year_are_as_fast_as_their_score() -> None:
    """20 GFLOP/s at a score of 3212, a Snapdragon 855's."""
    found = {name: re.search(rf"median score {NUMBER}", " ".join(one.sources)) for name, one in devices().items()}
    scores = {name: float(match[1]) for name, match in found.items() if match}
    assert len(scores) == 9
    for name, score in scores.items():
        assert devices()[name].compute_flops == pytest.approx(20e9 * score / 3212, rel=0.02)


def test_a_battery_holds_its_ampere_hours_at_3_85_volts() -> None:
    for device in devices().values():
        for charge in re.findall(r"([\d,]+) mAh at 3\.85 V", " ".join(device.sources)):
            assert device.battery_j == pytest.approx(float(charge.replace(",", "")) * 3.85 * 3.6, rel=0.02)
