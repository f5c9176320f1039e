"""The pictures of the documentation can be made: all of them, in the width that is shown, and none is blank."""

from __future__ import annotations

from pathlib import Path

import browser as browsers
import make_screenshots
import pytest
from PIL import Image

pytestmark = pytest.mark.browser

_GROUNDS = {(248, 247, 244), (18, 19, 21)}
"""Those of the style sheet, light and dark: pictures that stand side by side have the same ones."""
_BLANK = 40
"""A picture with fewer colors shows no page: the pages have more than 100."""


def test_every_picture_can_be_made(tmp_path: Path) -> None:
    browsers.require()
    make_screenshots.main(tmp_path)
    made, shown = ({path.name for path in folder.glob("*.png")} for folder in (tmp_path, make_screenshots.DOCS))
    assert made == shown
    for name in made:
        with Image.open(tmp_path / name) as new, Image.open(make_screenshots.DOCS / name) as old:
            assert new.width == old.width, name
            assert len(new.convert("RGB").getcolors(maxcolors=2**24) or ()) > _BLANK, name
            assert name == "top.png" or new.convert("RGB").getpixel((100, 500)) in _GROUNDS, name
