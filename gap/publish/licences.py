"""LICENSE.md of a repository: which licences its content has, and where their texts are."""

import re
from collections.abc import Mapping

from eval import template
from gap.publish.rows import UNKNOWN

CREATIVE_COMMONS = re.compile(r"cc[ -](by(?:-(?:nc|nd|sa|nc-sa|nc-nd))?)(?:[ -](\d\.\d))?")
TEXTS = {
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "cc0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "mit": "https://opensource.org/license/mit",
    "ogl-uk-3.0": "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
    "public-domain": "https://creativecommons.org/publicdomain/mark/1.0/",
}


def text_of(licence: str) -> str | None:
    """The address of a licence's text, where its name tells."""
    name = licence.lower().strip()
    if (match := CREATIVE_COMMONS.fullmatch(name)) is not None:
        return f"https://creativecommons.org/licenses/{match[1]}/{match[2]}/" if match[2] else None
    return TEXTS.get(name)


def licence_file(title: str, licences: Mapping[str, int], weights: bool = False, base: str | None = None) -> str:
    """`licences` counts documents by licence. For weights, `base` is the model that they started from."""
    facts = {
        "title": title,
        "rows": [(licence, text_of(licence), count) for licence, count in licences.items()],
        "weights": weights,
        "base": base,
        "UNKNOWN": UNKNOWN,
    }
    return template.markdown("gap", ".").get_template("publish/licences.jinja").render(facts) + "\n"
