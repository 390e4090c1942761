"""SentencePiece models of Llama's kind, as Rust tokenizers that give the same ids."""

from pathlib import Path
from typing import Any

import tokenizers
from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2 as model_pb2
from tokenizers import AddedToken, decoders, models, normalizers

from lake.error import UserError

SPACE = "▁"
"""Stands for a space in every piece."""

Piece = model_pb2.ModelProto.SentencePiece


def read_pieces(file: Path) -> tuple[tokenizers.Tokenizer, str | None]:
    """The model and its end of sentence, if it has one; ids are the file's.

    Llama's kind is BPE with a piece for every byte, which leaves the text as it is but for a space put before it.
    A text between two added tokens is a text of its own, as in Llama 2's tokenizer.json: it gets that space, too.

    Raises:
        UserError: the file is no SentencePiece model, or one of another kind.
    """
    proto = model_pb2.ModelProto()
    try:
        proto.ParseFromString(file.read_bytes())
    except DecodeError:
        raise UserError(f"{file}: not a SentencePiece model; give the file or folder that training wrote") from None
    trained, normal = proto.trainer_spec, proto.normalizer_spec
    strange = (
        trained.model_type != model_pb2.TrainerSpec.BPE
        or not trained.byte_fallback
        or trained.treat_whitespace_as_suffix
        or normal.precompiled_charsmap
        or normal.remove_extra_whitespaces
        or not normal.escape_whitespaces
    )
    if strange:
        raise UserError(f"{file}: not a model of Llama's kind (BPE, bytes, no normalization); give a tokenizer.json")
    vocabulary = {one.piece: number for number, one in enumerate(proto.pieces)}
    scores = {one.piece: one.score for one in proto.pieces if one.type == Piece.NORMAL}
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
    controls = [unknown, *(one.piece for one in proto.pieces if one.type == Piece.CONTROL)]
    backend.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in controls])
    defined = [one.piece for one in proto.pieces if one.type == Piece.USER_DEFINED]
    backend.add_tokens([AddedToken(one, special=False, normalized=False) for one in defined])
    end = trained.eos_id
    return backend, proto.pieces[end].piece if end >= 0 else None


def _merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """All pairs of pieces that make a piece, best score first, which is not always the order of the ids."""
    pairs = [
        (-score, number, at, piece)
        for number, (piece, score) in enumerate(scores.items())
        for at in range(1, len(piece))
        if piece[:at] in scores and piece[at:] in scores
    ]
    return [(piece[:at], piece[at:]) for _, _, at, piece in sorted(pairs)]
