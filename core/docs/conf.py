"""Settings of the site: Sphinx, Furo and MyST on the pages of this folder. `tox -e site` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tenure

project = "Tenure"
author = project_copyright = "the Tenure authors"
release = version = tenure.__version__
language = "en"
smartquotes_action = "De"  # dashes and dots; quotes stay as the program prints them

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_parts"]
exclude_patterns = ["changelog.d", "site_parts", "claims"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a fragment of another page may begin below the first level

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = True
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
add_module_names = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True

pygments_dark_style = "github-dark"
html_theme = "furo"
html_title = "Tenure"
html_static_path = ["site_parts/static"]
html_css_files = ["tenure.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1a7f37", "color-brand-content": "#0b62c4"},
    "dark_css_variables": {"color-brand-primary": "#3fb950", "color-brand-content": "#6cb6ff"},
}
