"""Make the screenshots in docs/images from a report on the examples: ``python docs/screenshots.py``.

Needs the extra `test`, Chromium and its driver (``apt-get install chromium chromium-driver``).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """Score the examples, and photograph the report and the evidence for one document."""
    IMAGES.mkdir(exist_ok=True)
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.html")
        command = [sys.executable, "-m", "authorid", "score", "examples", "--report", str(report), "--quiet"]
        subprocess.run(command, cwd=ROOT, check=True)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            screen = {"width": 900, "height": 640, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            driver.get(report.as_uri())
            driver.save_screenshot(IMAGES / "report.png")
            driver.find_element(By.XPATH, "//button[contains(., 'cocoa-harvest')]").click()
            driver.execute_script("document.getElementById('details').scrollTop = 430")
            driver.save_screenshot(IMAGES / "evidence.png")
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
