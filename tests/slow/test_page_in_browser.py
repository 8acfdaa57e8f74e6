"""The report's page in a real browser: nothing runs out of it, wide or narrow."""

import html
import re
import shutil
import subprocess

import pytest
from pages import ROOT

from distill.cli import main

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")]
PROBE = """<script>addEventListener("load", () => {
  const frame = document.querySelector("iframe").contentDocument, page = frame.documentElement;
  const tables = [...frame.querySelectorAll(".table")].map((table) => table.scrollWidth - table.clientWidth);
  const silent = [...frame.querySelectorAll("img")].filter((image) => !image.alt || !image.naturalWidth).length;
  document.documentElement.dataset.found = [page.scrollWidth - page.clientWidth, silent, Math.max(...tables)].join(" ");
})</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The page of the committed runs."""
    folder = tmp_path_factory.mktemp("report")
    main(["report", str(ROOT / "conf" / "results" / "paper"), "--out", str(folder)])
    return (folder / "report.html").read_text()


@pytest.mark.parametrize(("width", "tables_fit"), [(1200, True), (390, False)])
def test_nothing_runs_out_of_the_page(page, tmp_path, width, tables_fit):
    """The page is not wider than the window, pictures load and have a text; where there is room, tables fit as well."""
    frame = f'<iframe srcdoc="{html.escape(page)}" width="{width}" height="900" style="border: 0"></iframe>'
    (tmp_path / "framed.html").write_text(f"<!doctype html><body>{frame}{PROBE}</body>")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,1000", "--dump-dom"]
    shown = subprocess.run([*command, (tmp_path / "framed.html").as_uri()], capture_output=True, text=True, check=True)
    page_over, silent, table_over = map(int, re.search(r'data-found="([-\d ]+)"', shown.stdout)[1].split())
    assert (page_over, silent) == (0, 0)
    assert table_over <= 0 or not tables_fit
