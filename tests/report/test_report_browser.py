"""The pages in a real browser, at the width of a phone and of a laptop."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium"),
]
_FRAME = """<!doctype html><iframe id="frame" width="{width}" height="800" style="border:0" srcdoc="{page}"></iframe>
<pre id="out"></pre><script>
frame.onload = () => {{
  const at = frame.contentDocument, all = [...at.querySelectorAll("svg")].filter(it => it.getClientRects().length);
  const size = it => parseFloat(frame.contentWindow.getComputedStyle(it).fontSize) * it.getScreenCTM().a;
  const text = all.flatMap(it => [...it.querySelectorAll("text")]).map(size);
  const sticks = it => !it.closest(".box, svg, thead") && it.getBoundingClientRect().right > {width} + 0.5;
  const over = [...at.querySelectorAll("main *")].filter(sticks).map(it => it.tagName + "." + it.className);
  out.textContent = JSON.stringify({{width: at.documentElement.scrollWidth, pictures: all.length,
    letters: Math.min(...text), over: over.slice(0, 5).join(" ")}});
}};
</script>"""


def seen(folder: Path, page: str, width: int) -> dict[str, str]:
    """What the browser measured of a page in a frame of that width."""
    frame = folder / f"frame-{width}.html"
    frame.write_text(_FRAME.format(width=width, page=html.escape(page)), encoding="utf-8")
    ran = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-sync", "--no-first-run", f"--user-data-dir={folder / 'profile'}", "--window-size=1500,900",
            "--virtual-time-budget=5000", "--dump-dom", frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="out">\{(.*?)\}</pre>', ran.stdout)
    assert found, ran.stderr[-2000:]
    return dict(part.replace('"', "").split(":", 1) for part in found[1].split(',"'))


@pytest.mark.parametrize("width", [375, 1366])
@pytest.mark.parametrize("which", ["page", "journey"])
def test_no_page_scrolls_sideways_and_figures_can_be_read(
    which: str, width: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page = request.getfixturevalue(which).replace("<details>", "<details open>")
    found = seen(tmp_path, page, width)
    assert int(found["width"]) <= width, found
    assert found["over"] == "", found
    assert int(found["pictures"]) >= 6
    assert float(found["letters"]) >= 10, "letters in figures are too small to read"


def test_a_page_that_is_too_wide_is_noticed(tmp_path: Path) -> None:
    page = "<!doctype html><main><svg width=9 height=20><text y=15>a</text></svg><p style='width:900px'>wide</p></main>"
    found = seen(tmp_path, page, 375)
    assert int(found["width"]) > 375 and "P" in found["over"]
