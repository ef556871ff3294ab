"""How Sphinx builds the documentation."""

import logging
import sys
from pathlib import Path

import myserv

# Pages appear in the contents when they are written; a section may have none yet.
# (Sphinx gives this warning no type to suppress it by.)
logging.getLogger("sphinx.sphinx.directives.other").addFilter(
    lambda record: getattr(record, "subtype", "") != "empty_glob"
)

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "myserv"
author = "The myserv authors"
copyright = "The myserv authors"  # noqa: A001 (Sphinx's name)
version = release = myserv.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "epytext",
    "generated_reference",
]
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
# What a class is called with is in the docstring of __init__.
autoclass_content = "both"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Resources"]
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"myserv {version}"
html_copy_source = False
html_show_copyright = False
