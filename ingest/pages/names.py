"""What `class` and `id` say of a part of a page: that it is no content, or that it holds the content.

Names are judged word by word, so that `post-meta` is suspect and `metabolism` is not.
"""

import re
from functools import lru_cache
from typing import Final

COLLAPSED: Final = 1
WEAK: Final = 2
STRONG: Final = 3
SURE: Final = 4
CERTAIN: Final = 5
"""How surely name, tag or state show that a block is no content. A click may open a collapsed section."""

POST: Final = -1
"""The name is that of a whole post."""

BODY: Final = 3
WHOLE_ARTICLE: Final = 2
MAIN: Final = 1
"""What a block claims to hold: the body of an article, an article, or the main part of the page."""


def words(text: str) -> frozenset[str]:
    """Words separated by blanks."""
    return frozenset(text.split())


FURNITURE = words(
    """
    addtoany adsense advert advertisement advertising anzeige author authors autor bio biography breadcrumb
    breadcrumbs commentlist comments cookie cookies copyright crumbs disclaimer disqus dropdown footer gdpr
    kommentar login masthead menu menus modal nav navbar navi navigation newsletter newsletters outbrain pager
    pagination paging partager paywall popup promos replies respond rss sharedaddy sharer shares sidebar sidebars
    signin signup socials taboola tagcloud teilen toolbar upsell werbung
    """
)
"""Words for parts of a site. `recommendations` is missing, for they are the core of a guideline."""

STRONG_HEADS = words(
    """
    ad ads adv comment consent donate donation feedback promo related share sharing skip social sponsor sponsored
    subscribe subscription subscriptions trending
    """
)
WEAK_HEADS = words(
    """
    aside banner button buttons byline caption carousel categories category credit credits cta date datetime follow
    hidden keywords legal meta metadata noprint overlay popular postinfo postmeta promotion rating ratings readmore
    slider slideshow tag tags teaser teasers timestamp toc topbar topics vote widget widgets
    """
)
"""Words that name a part of a site where no other noun follows: `social-bar`, and not `social-care`."""

LAYOUT = words(
    """
    a area article articles bar block blocks body bottom box btn bubble buttons card center close cloud col column
    container content count counter cover date desktop div elements entries entry expand field fields form frame
    full global grid group head header heading headline holder icon icons image img info inner item items label
    large layer layout left line link links list listing lists logo main mini mobile module more name network
    networks notice on open outer overlay page pages pane panel panels placeholder position post posts primary
    region reply right row secondary section sections segment slot small social stories story strip sub submit text
    tile title toggle tool tools top trigger url view widget wrap wrapper zone
    """
)
"""Nouns for a place on a page."""

OTHER_TEXTS = re.compile(
    "breadcrumb|catlinks|comment-?(?:form|list)|cookie|mw-editsection|newsletter|outbrain|taboola|"
    "(?:related|recommended)[_-]{0,2}(?:articles?|content|links?|posts?|stor(?:y|ies)|topics?)(?![a-z])"
)
"""Names of what belongs to other pages or to their readers, whatever it holds."""

RUN_TOGETHER = re.compile(
    "addthis|articlefooter|articlemeta|authorbio|authorbox|authorinfo|"
    "entrymeta|jump-?to-?nav|kommentar|mw-jump|navbar|printfooter|"
    "screen-reader|sharethis|social(?:icon|link|media|share)|sr-only|"
    "subscribe|visually-?hidden"
)
WORDPRESS = re.compile("hentry|status-publish|type-post")
"""A post of WordPress carries its tags and category in its class."""

NO_NAMES = words("col elementor field grid has is js no one with without wp")
"""A class that begins with such a word describes layout or state: `has-sidebar` is the page beside the sidebar."""

WORD = re.compile("[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]*")

ARTICLE = re.compile(
    r"(?:^|[_-])(?:(?:article|entry|post|story|blog|news|recipe|artikel|beitrag)[_-]{0,2}"
    r"(?:body|content|text|copy|main|inner|entry|detail|inhalt)"
    r"|storytext|mw-parser-output|field-name-body|field--name-body|available-content)(?:$|[_-])"
)
CONTENT = re.compile(
    r"(?:^|[_-])(?:(?:main|page|node|single|content|body|text|rich|detail)[_-]{0,2}"
    r"(?:content|body|text|copy|main|inner|inhalt)"
    r"|content|inhalt)(?:$|[_-])"
)


@lru_cache(32_768)
def judged(name: str) -> tuple[int, int]:
    """How surely class and id, separated by blanks, show that an element is no content, and what it claims to hold."""
    suspect = claim = 0
    for word in name.split():
        doubt, claimed = _judged_word(word)
        if doubt == POST:
            return 0, max(claim, claimed)
        if doubt > suspect:
            suspect = doubt
        if claimed > claim:
            claim = claimed
    return suspect, claim


@lru_cache(32_768)
def _judged_word(name: str) -> tuple[int, int]:
    low = name.lower()
    claim = BODY if ARTICLE.search(low) else MAIN if CONTENT.search(low) else 0
    if WORDPRESS.search(low):
        return POST, claim
    if OTHER_TEXTS.search(low):
        return CERTAIN, claim
    if RUN_TOGETHER.search(low):
        return SURE, claim
    parts = [part.lower() for part in WORD.findall(name)]
    # An acronym in capitals is none of these words: AD is Alzheimer's disease.
    if not parts or parts[0] in NO_NAMES or (name.isupper() and len(name) < 4):
        return 0, claim
    if not FURNITURE.isdisjoint(parts):
        return SURE, claim
    heads = set(parts[len(parts) - _trailing(parts) :])
    if not STRONG_HEADS.isdisjoint(heads):
        return STRONG, claim
    return 0 if WEAK_HEADS.isdisjoint(heads) else WEAK, claim


def _trailing(parts: list[str]) -> int:
    """How many words at the end of a name are those of a site or its layout."""
    count = 0
    for word in reversed(parts):
        if word not in LAYOUT and word not in STRONG_HEADS and word not in WEAK_HEADS and len(word) > 2:
            break
        count += 1
    return count
