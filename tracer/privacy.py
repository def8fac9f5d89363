"""What must not be stored: attributes by name, and secrets, personal data and literals inside of texts.

Applied to tables before they are stored, on the distinct values of each column. The columns that name services, pods,
nodes and peers are identity, not content, and stay; a denied or hashed attribute takes with it the column it fills.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, cached_property, lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypocenter.semconv import RESOURCE_ATTRIBUTES, SPAN_ATTRIBUTES

from .batch import Batch
from .json_leaves import map_leaves
from .otlp.attributes import replaced
from .schema import ATTRIBUTES

MASK: Final = "***"
_WORDS: Final = (
    "authorization|proxy.authorization|set.cookie|cookie|x.api.key|api.?key|access.?key|access.?token|refresh.?token|"
    "id.?token|auth.?token|token|password|passwd|pwd|secret|client.?secret|session.?id|credentials?|private.?key"
)
# The name of an attribute whose whole value is secret; parts are divided by anything but letters and digits.
_SECRET_NAME: Final = rf"(?i)(^|[^a-z0-9])({_WORDS})($|[^a-z0-9])"
_SQL_NAMES: Final = ("db.statement", "db.query.text", "sql.query")
_PARAMETER_NAMES: Final = ("db.query.parameter.*", "db.operation.parameter.*")
_URL_NAMES: Final = ("http.target", "http.url", "url.full", "url.original", "url.path", "url.query", "http.route")
_INSIDE: Final = r'(?:[^\s"\\#]|\\.)'  # of a URL in JSON text: an escape is not cut in two
_HINT: Final = "(?i)authori|cookie|api.?key|access.?key|private.?key|token|passw|pwd|secret|session.?id|credential"
_PARAMETER: Final = r"db\.(?:query|operation)\.parameter\.[^\"]*"
# What a text must contain for the expression to be tried (most contain none), expression and replacement, in order.
# They work on JSON text and leave JSON text.
_TEXT: Final = (
    (_HINT, rf'(?i)("[^"]*\b(?:{_WORDS})\b[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"', rf'\1"{MASK}"'),
    (r'"db\.', rf'("(?:db\.statement|db\.query\.text|{_PARAMETER})"\s*:\s*)"(?:[^"\\]|\\.)*"', rf'\1"{MASK}"'),
    (
        r'"(?:http|url)\.',
        r'("(?:http|url)\.(?:target|query|path|route)"\s*:\s*"[^"?\\]*)\?(?:[^"\\]|\\.)*',
        rf"\1?{MASK}",
    ),
    ("(?i)bearer|basic", r"(?i)\b(bearer|basic)(\s+)[a-z0-9._~+/=-]{6,}", rf"\1\2{MASK}"),
    ("eyJ", r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?", MASK),
    ("(?i)cookie", r'(?i)\b((?:set-)?cookie\s*[:=]\s*)[^\r\n"\\]+', rf"\1{MASK}"),
    (_HINT, rf"(?i)\b({_WORDS})((?:\\?[\"'])?\s*[:=]\s*(?:\\?[\"'])?)[^\s\"'&,;\\]+", rf"\1\2{MASK}"),
    ("://", r'(://)[^/\s:@"\\]+:[^/\s@"\\]+@', rf"\1{MASK}@"),
    ("://", rf'(?i)(\b[a-z][a-z0-9+.-]*://[^\s?#"\\]*)\?{_INSIDE}*', rf"\1?{MASK}"),
    ("@", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", f"{MASK}@{MASK}"),
)
_QUERY: Final = ((r"\?", rf"\?{_INSIDE}*", f"?{MASK}"),)
_URL: Final = (*_TEXT, *_QUERY)
_SQL: Final = (
    ("'", r"'(?:[^'\\]|\\.|'')*'", "?"),
    ("'", r"""'(?:[^'\\"]|\\.)*("?)$""", r"?\1"),  # a statement cut inside of a literal
    (r"\\", r'\\"(?:[^"\\]|\\[^"])*\\"', "?"),
    ("(?i)0x", r"(?i)\b0x[0-9a-f]+\b", "?"),
    ("[0-9]", r"(\\[nrtbf]|[^A-Za-z0-9_.\\]|^)[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", r"\1?"),
)
_Patterns = tuple[tuple[str, str, str], ...]
_CONTENT: Final = {"spans": ("name", "status_message", "events"), "logs": ("body",), "events": ("message",)}
_DOCUMENTS: Final = {"objects": ("spec", "status")}
_ANY_HINT: Final = f"{_HINT}|bearer|basic|://|@|eyJ"
_ATTRIBUTES: Final = {"spans": ("attributes", "resource"), "logs": ("attributes",), "series": ("attributes",)}


@dataclass(frozen=True)
class Privacy:
    """Rules for attributes, by name or pattern (``*`` is any text), and whether the default masks apply.

    ``allow`` keeps only what it names (none: all), ``deny`` removes, ``hash`` replaces a value by a digest of it keyed
    with ``key``: equal values stay equal; without a secret key, guessing can undo it.
    """

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    hash: Sequence[str] = ()
    masks: bool = True
    key: bytes = field(default=b"", repr=False)

    def apply(self, batch: Batch) -> Batch:
        """Return the batch with the rules applied; what was masked, hashed or removed is counted as repaired."""
        tables = dict(batch.tables)
        changed: dict[str, int] = {"attribute removed": 0, "attribute hashed": 0, "sensitive text masked": 0}
        for signal, table in tables.items():
            for name in _ATTRIBUTES.get(signal, ()):
                table = _replace(table, name, self._attributes(table.column(name), changed))
            if self.masks:
                for name in _CONTENT.get(signal, ()):
                    texts = table.column(name).combine_chunks()
                    masked = _masked(texts, _URL if name == "name" else _TEXT)
                    if masked is not texts:
                        changed["sensitive text masked"] += _differences(texts, masked)
                        table = _replace(table, name, masked)
                for name in _DOCUMENTS.get(signal, ()):
                    documents = table.column(name).combine_chunks()
                    masked = map_leaves(documents, _ANY_HINT, _BY_DEFAULT._treatment)
                    changed["sensitive text masked"] += _differences(documents, masked)
                    table = _replace(table, name, masked)
            for name in self._hidden_columns:
                if signal == "spans" and table.num_rows:
                    table = _replace(table, name, pa.nulls(table.num_rows, table.schema.field(name).type))
            tables[signal] = table
        for reason, count in changed.items():
            batch.tally.repair(reason, count)
        return Batch(tables, batch.tally)

    @cached_property
    def _hidden_columns(self) -> list[str]:
        """The columns filled by an attribute that is removed or hashed; the service is what everything hangs on."""
        names = {**RESOURCE_ATTRIBUTES, **SPAN_ATTRIBUTES}
        rules = [*self.deny, *self.hash]
        return [
            column
            for column, sources in names.items()
            if column != "service" and any(_is_in(s, rules) for s in sources)
        ]

    def _attributes(self, column: pa.ChunkedArray, changed: dict[str, int]) -> pa.Array:
        maps = column.combine_chunks()
        if not len(maps):
            return maps
        keys, texts, offsets, valid = _flat(maps)
        encoded = keys.dictionary_encode()
        names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
        treat = [self._treatment(name) for name in names]
        unchanged = texts
        hinted = _hinted(texts, _URL) if self.masks else np.ones(len(texts), bool)
        for treatment in dict.fromkeys(treat):
            if treatment is None or treatment is _remove:
                continue
            treated = np.array([one == treatment for one in treat])[codes]
            rows = np.flatnonzero(treated & hinted if treatment in (_plain, _url) else treated)
            if not len(rows):
                continue
            before = texts.take(pa.array(rows))
            after = treatment(before)
            reason = "attribute hashed" if treatment == self._hashed else "sensitive text masked"
            changed[reason] += _differences(before, after)
            texts = replaced(texts, rows, after)
        removed = np.array([one is _remove for one in treat], bool)[codes]
        if texts is unchanged and not removed.any():
            return maps
        if removed.any():
            changed["attribute removed"] += int(removed.sum())
            kept = np.r_[0, np.cumsum(~removed)]
            offsets = kept[offsets]
            keys, texts = keys.filter(pa.array(~removed)), texts.filter(pa.array(~removed))
        mask = None if valid.all() else pa.array(~valid)
        return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), keys, texts, mask=mask).cast(ATTRIBUTES)

    def _treatment(self, name: str) -> Callable[[pa.Array], pa.Array] | None:
        if _is_in(name, self.deny) or (self.allow and not _is_in(name, self.allow)):
            return _remove
        if _is_in(name, self.hash):
            return self._hashed
        return _default_treatment(name) if self.masks else None

    def _hashed(self, texts: pa.Array) -> pa.Array:
        def digest(text: str) -> str:
            return f'"hash:{hashlib.blake2b(text.encode(), digest_size=8, key=self.key).hexdigest()}"'

        encoded = texts.dictionary_encode()
        return pa.array(map(digest, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)


_BY_DEFAULT: Final = Privacy()


@lru_cache(4096)
def _default_treatment(name: str) -> Callable[[pa.Array], pa.Array]:
    """Return the mask of an attribute; the same names come with every batch."""
    if pc.match_substring_regex(pa.scalar(name), _SECRET_NAME).as_py():
        return _secret
    if _is_in(name, _PARAMETER_NAMES):
        return _parameter
    return _sql if _is_in(name, _SQL_NAMES) else _url if _is_in(name, _URL_NAMES) else _plain


def _remove(texts: pa.Array) -> pa.Array:
    return texts.slice(0, 0)


def _secret(texts: pa.Array) -> pa.Array:
    """Return the mask for all but plain numbers and truth values: a count of tokens is no token."""
    is_harmless = pc.match_substring_regex(texts, r"^(-?[0-9.eE+-]+|true|false|null)$")
    return pc.if_else(is_harmless, texts, f'"{MASK}"')


def _sql(texts: pa.Array) -> pa.Array:
    is_text = pc.starts_with(texts, '"')
    return pc.if_else(is_text, _masked(texts, _SQL), '"?"')


def _parameter(texts: pa.Array) -> pa.Array:
    """Return the mark of a literal for all of them: what is bound to a statement stands for one."""
    return pc.if_else(pc.is_valid(texts), '"?"', texts)


def _url(texts: pa.Array) -> pa.Array:
    return _masked(texts, _URL)


def _plain(texts: pa.Array) -> pa.Array:
    return _masked(texts, _TEXT)


def _masked(texts: pa.Array, patterns: _Patterns) -> pa.Array:
    """Return texts with each expression replaced, on their distinct values; null stays null."""
    if texts.null_count == len(texts):
        return texts
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary
    if not _matches(distinct, _any_hint(patterns)).any():
        return texts
    for hint, expression, replacement in patterns:
        rows = np.flatnonzero(_matches(distinct, hint))
        if len(rows):
            changed = pc.replace_substring_regex(distinct.take(pa.array(rows)), expression, replacement)
            distinct = replaced(distinct, rows, changed)
    return distinct.take(encoded.indices)


def _hinted(texts: pa.Array, patterns: _Patterns) -> np.ndarray:
    """Tell which texts some expression may change; most may not."""
    encoded = texts.dictionary_encode()
    found = np.append(_matches(encoded.dictionary, _any_hint(patterns)), False)
    hinted: np.ndarray = found[encoded.indices.fill_null(len(found) - 1).to_numpy(zero_copy_only=False)]
    return hinted


@cache
def _any_hint(patterns: _Patterns) -> str:
    return "|".join(dict.fromkeys(f"(?:{hint})" for hint, _, _ in patterns))


def _matches(texts: pa.Array, expression: str) -> np.ndarray:
    found: np.ndarray = pc.match_substring_regex(texts, expression).to_numpy(zero_copy_only=False)
    return found


def _differences(before: pa.Array, after: pa.Array) -> int:
    return pc.sum(pc.not_equal(before, after)).as_py() or 0


def _flat(maps: pa.MapArray) -> tuple[pa.Array, pa.Array, np.ndarray, np.ndarray]:
    """Return keys, texts, offsets from 0 and which maps are not null."""
    lengths = pc.fill_null(pc.list_value_length(maps.cast(_AS_LIST)), 0).to_numpy(zero_copy_only=False)
    pairs = maps.cast(_AS_LIST).flatten()
    offsets = np.r_[0, np.cumsum(lengths)]
    valid: np.ndarray = pc.is_valid(maps).to_numpy(zero_copy_only=False)
    return pairs.field(0), pairs.field(1), offsets, valid


_AS_LIST: Final = pa.list_(pa.struct([pa.field("key", pa.string(), nullable=False), pa.field("value", pa.string())]))


def _is_in(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _replace(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), column)
