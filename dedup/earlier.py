"""Earlier corpora that a new one is compared with, by their stored signatures alone."""

from dedup.settings import DedupSettings
from dedup.sign import SIGNATURES
from lake.dataset import Output
from lake.error import UserError
from lake.step import read_manifest


def fingerprints(settings: DedupSettings, version: int) -> list[str]:
    """Those of the dedup steps in `settings.earlier`, whose signatures must compare with this step's, of `version`.

    Raises:
        UserError: there is no finished step that kept its signatures, or they were made in another way.
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
    if manifest.step != "dedup" or not output.parts(SIGNATURES):
        raise UserError(
            f"dedup.earlier: {folder}: no signatures there; run that corpus with dedup.keep_signatures=true"
        )
    if manifest.version != version:
        raise UserError(f"dedup.earlier: {folder}: made by another version of dedup; run that corpus again")
    theirs = DedupSettings.model_validate(manifest.config)
    for name in ("ngram", "scheme", "bands"):
        ours, other = getattr(settings, name), getattr(theirs, name)
        if ours != other:
            raise UserError(f"dedup.earlier: {folder}: signed with {name} {other}, not {ours}; use the same settings")
    return manifest.fingerprint
