"""Read a SentencePiece model of Llama's kind as a Rust tokenizer that gives the same ids."""

from pathlib import Path
from typing import Any

import tokenizers
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2 as model_pb2
from tokenizers import AddedToken, decoders, models, normalizers

from lake.error import UserError
from mixing.tokenizer.plain import SPACE

Piece = model_pb2.ModelProto.SentencePiece


def read_model(file: Path) -> tuple[tokenizers.Tokenizer, str | None]:
    """The model with the file's ids, and its end-of-sentence token where it has one.

    Llama's kind is BPE with a piece for every byte. It changes nothing in a text but puts a space before it. As in
    Llama 2's tokenizer.json, the text between two added tokens gets that space, too.

    Raises:
        UserError: the file is not a SentencePiece model, or it is of another kind.
    """
    proto = model_pb2.ModelProto()
    try:
        proto.ParseFromString(file.read_bytes())
    except DecodeError:
        raise UserError(f"{file}: not a SentencePiece model; give the file or folder that training wrote") from None
    trained, normal = proto.trainer_spec, proto.normalizer_spec
    unsupported = (
        trained.model_type != model_pb2.TrainerSpec.BPE
        or not trained.byte_fallback
        or trained.treat_whitespace_as_suffix
        or normal.precompiled_charsmap
        or normal.remove_extra_whitespaces
        or not normal.escape_whitespaces
    )
    if unsupported:
        raise UserError(f"{file}: not a model of Llama's kind (BPE, bytes, no normalization); give a tokenizer.json")
    vocabulary = {entry.piece: number for number, entry in enumerate(proto.pieces)}
    scores = {entry.piece: entry.score for entry in proto.pieces if entry.type == Piece.NORMAL}
    unknown = proto.pieces[trained.unk_id].piece
    model = models.BPE(vocabulary, _merges(scores), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    backend = tokenizers.Tokenizer(model)
    spaces: list[Any] = [normalizers.Replace(" ", SPACE)]
    parts = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if normal.add_dummy_prefix:
        spaces.insert(0, normalizers.Prepend(SPACE))
        parts.append(decoders.Strip(" ", 1, 0))
    backend.normalizer = normalizers.Sequence(spaces)
    backend.decoder = decoders.Sequence(parts)
    controls = [unknown, *(entry.piece for entry in proto.pieces if entry.type == Piece.CONTROL)]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in controls])
    defined = [entry.piece for entry in proto.pieces if entry.type == Piece.USER_DEFINED]
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in defined])
    end = trained.eos_id
    return backend, proto.pieces[end].piece if end >= 0 else None


def _merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """All pairs of pieces that make a piece, best score first; ids are not always in that order."""
    pairs = [
        (-score, number, at, piece)
        for number, (piece, score) in enumerate(scores.items())
        for at in range(1, len(piece))
        if piece[:at] in scores and piece[at:] in scores
    ]
    return [(piece[:at], piece[at:]) for _, _, at, piece in sorted(pairs)]
