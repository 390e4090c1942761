"""Earlier corpora, whose stored signatures a new corpus is compared with."""

from dedup.settings import DedupSettings
from dedup.sign import SIGNATURES
from lake.dataset import Output
from lake.error import UserError
from lake.step import Kind, read_manifest


def fingerprints(settings: DedupSettings, version: int) -> list[str]:
    """The fingerprints of the dedup steps in `settings.earlier`.

    Args:
        version: Version of this dedup step, which theirs must equal.

    Raises:
        UserError: a folder is no finished step that kept its signatures, or they do not compare with this step's.
    """
    return [_fingerprint(folder, settings, version) for folder in settings.earlier]


def _fingerprint(folder: str, settings: DedupSettings, version: int) -> str:
    output = Output(folder)
    try:
        manifest = read_manifest(output, "run that corpus again")
    except FileNotFoundError:
        raise UserError(
            f"dedup.earlier: {folder}: no finished dedup step; name its folder, <lake>/dedup-<fingerprint>"
        ) from None
    except (OSError, UserError) as error:
        raise UserError(f"dedup.earlier: {folder}: {' '.join(str(error).split())}") from None
    if manifest.kind is not Kind.DEDUPLICATION or not output.parts(SIGNATURES):
        raise UserError(f"dedup.earlier: {folder}: has no signatures; run that corpus with dedup.keep_signatures=true")
    if manifest.version != version:
        raise UserError(f"dedup.earlier: {folder}: made by another version of dedup; run that corpus again")
    earlier = DedupSettings.model_validate(manifest.config)
    for name in ("ngram", "scheme", "bands"):
        before, now = getattr(earlier, name), getattr(settings, name)
        if before != now:
            raise UserError(f"dedup.earlier: {folder}: signed with {name} {before}, not {now}; use the same settings")
    return manifest.fingerprint
