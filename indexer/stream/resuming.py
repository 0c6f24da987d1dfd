"""Where to go on behind a stream's newest entry, once it is clear that it is an entry of this feed."""

from indexer.database import Connection
from indexer.errors import StreamForeign
from indexer.stream import cloud_event
from indexer.stream.cloud_event import EntryId
from indexer.stream.event_query import START
from indexer.stream.feed_reader import FeedReader, Place


async def resume(
    connection: Connection,
    reader: FeedReader,
    key: str,
    end: EntryId,
    text: bytes | None,
    *,
    settled_seq: int,
) -> Place:
    """``end`` is where the stream ``key`` ends, ``text`` that entry or None if it was removed. All rows up to
    ``settled_seq`` have been in the stream as a whole.

    Raises :class:`StreamForeign`.
    """
    if text is None:
        if end.seq != settled_seq:
            raise StreamForeign(key=key, reason=f"its newest entry {end} was removed")
        return Place(end.seq)
    change = await reader.change(connection, end.seq)
    if change is None:
        raise StreamForeign(key=key, reason=f"the feed has no row {end.seq}, which it ends with")
    try:
        stored = cloud_event.parse(text)
    except ValueError as error:
        raise StreamForeign(key=key, reason=f"its newest entry {end}: {error}") from error
    if not stored.is_of(change) or stored.data.part != end.part:
        raise StreamForeign(key=key, reason=f"its newest entry {end} speaks of something else")
    if stored.data.last:
        return Place(end.seq)
    last = stored.data.events[-1] if stored.data.events else None
    found = await reader.place_of(connection, end.seq, last) if last else START
    if found is None:
        raise StreamForeign(key=key, reason=f"its newest entry {end} has a table of another feed")
    return Place(end.seq - 1, end.part + 1, found)
