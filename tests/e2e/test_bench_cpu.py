# SPDX-License-Identifier: Apache-2.0
"""bench/cpu: every program comes to the same checksum natively and under the software engine, and
its runner would tell if one did not."""

import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from lab import product

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import chart  # noqa: E402
import cpu  # noqa: E402
import places  # noqa: E402

# Little work for each, which the interpreter does in seconds.
SCALE = "0.0005"


@pytest.fixture(scope="module", autouse=True)
def _built():
    product.make("bench-programs")


def bench(*words):
    return subprocess.run([ROOT / "bench" / "cpu.py", "--rounds", "1", "--scale", SCALE, *words],
                          capture_output=True, text=True, timeout=300)


def test_checksums_under_bt_are_native(tmp_path):
    done = bench("--places", "native,bt", "--docs", tmp_path)
    assert done.returncode == 0, done.stderr
    names = cpu.programs(False)
    assert len(names) > 20
    for name in [*names, "**all compute**", "**system**"]:
        assert f"\n| {name} | " in done.stdout
    page = (tmp_path / "bench-cpu.md").read_text()
    assert done.stdout.split("\n\n")[0] in page
    xml.parse(tmp_path / "bench-cpu.svg")


def test_what_is_not_there_is_refused():
    assert "no such program: nothing" in bench("--programs", "crc,nothing").stderr
    assert "no such place: moon" in bench("--places", "native,moon").stderr


LINES = ["bench: begin 1.000000", "bench: run crc", "crc integer 0.500000000 0123456789abcdef 0.4",
         "bench: end 2.000000"]


def lines(texts, seconds=1.0):
    """What a guest wrote, as if it had come within `seconds`."""
    return [places.Line(text.replace(" 0.4", " 0.400000"), seconds * n / (len(texts) - 1), n / 10)
            for n, text in enumerate(texts)]


def test_a_wrong_checksum_is_refused():
    place = places.Native(Path("none"))
    good = cpu.parse(lines(LINES), "wall", False)
    assert good == {"crc": cpu.Ran("integer", 0.5, "0123456789abcdef")}
    cpu.compare(place, good, good)
    with pytest.raises(places.Failed, match="crc: checksum 0123456789abcdee"):
        cpu.compare(place, {"crc": cpu.Ran("integer", 0.5, "0123456789abcdee")}, good)
    with pytest.raises(places.Failed, match="crc did not run"):
        cpu.compare(place, {}, good)


def test_cpu_time_is_the_monitors_between_the_lines():
    assert cpu.parse(lines(LINES), "cpu", False)["crc"].seconds == pytest.approx(0.1)
    assert cpu.parse(lines(LINES), "cpu", True)["crc"].seconds == pytest.approx(0.4)


def test_a_clock_that_is_off_is_refused():
    place = places.Native(Path("none"))
    cpu.check_clock(place, lines(LINES))
    with pytest.raises(places.Failed, match="its clock counted 1.000 s, this one 1.700 s"):
        cpu.check_clock(place, lines(LINES, 1.7))


def test_means():
    table = cpu.Table({"native": {"a": [1, 9, 1], "b": [1]}, "bt": {"a": [2], "b": [8]},
                       "tcg": {"a": [8], "b": [8]}}, {"a": "integer", "b": "integer"})
    assert table.means()[0] == ("integer", 2, [pytest.approx(4), pytest.approx(8),
                                               pytest.approx(2)])


def test_a_chart_has_a_bar_for_each_value():
    drawing = xml.fromstring(chart.bars(["x", "y"], [("one & two", [0.5, 30])],
                                        [("mean", [1, 2])], "title"))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in drawing.iter(f"{space}text")]
    assert {"one & two", "mean", "0.50", "30.00", "x", "y", "title"} <= set(texts)
    # The ground, a sample of each colour, the bars.
    assert len(list(drawing.iter(f"{space}rect"))) == 1 + 2 + 4
