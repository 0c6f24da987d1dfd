-- What a downstream reader needs beside the contracts' own views: the feed, so that it can act on each change
-- once; how final each chain is; and which contracts there are. A view reads with its owner's rights, so the
-- role landbridge_reader needs none on chain.* and gets none. Nothing of a reader is stored here: it keeps its
-- place in the feed in a table of its own, where it moves in one transaction with what the reader makes of it.

CREATE VIEW v1.feed AS
    SELECT f.chain_id, f.seq, f.op, s.name AS source, f.from_block, f.to_block, f.block_hash, f.at,
           ARRAY(SELECT c.name FROM chain.source c
                 WHERE c.chain_id = f.chain_id AND c.published_at IS NOT NULL
                   AND NOT EXISTS (SELECT FROM chain.source later WHERE later.name = c.name
                                   AND later.version > c.version AND later.published_at IS NOT NULL)
                   AND CASE WHEN f.source_id IS NULL
                            THEN c.joined_seq < f.seq AND (c.retired_seq IS NULL OR f.seq <= c.retired_seq)
                            ELSE c.source_id = f.source_id END
                 ORDER BY c.name) AS contracts
    FROM chain.feed f LEFT JOIN chain.source s USING (source_id);
COMMENT ON VIEW v1.feed IS 'every change of what is believed of a chain; seq has no gaps and is visible in order, so WHERE seq > last misses nothing';
COMMENT ON COLUMN v1.feed.op IS 'apply: the events of these blocks count; retract: those of this block no longer do; finalize: nothing changes there any more';
COMMENT ON COLUMN v1.feed.source IS 'the one contract that the row speaks of; null: every contract that has joined';
COMMENT ON COLUMN v1.feed.block_hash IS 'hash of to_block; null for a range of one contract, which is final. The events of a single block are those with its number and this hash in v1.<contract>_<event>_history; those of a range have canonical set';
COMMENT ON COLUMN v1.feed.contracts IS 'the contracts whose views in v1 hold the row''s events; a contract whose definition has changed (v1.source.version) is told anew from its beginning, and its earlier rows no longer name it';

CREATE VIEW v1.finality AS
    SELECT c.chain_id, c.head_number, c.head_hash, c.head_timestamp_s, c.safe_number,
           (SELECT b.hash FROM chain.block b
            WHERE b.chain_id = c.chain_id AND b.canonical AND b.number = c.safe_number) AS safe_hash,
           c.finalized_number, c.finalized_hash, c.node_head_number,
           CASE WHEN c.node_head_number IS NOT NULL
                THEN greatest(c.node_head_number - coalesce(c.head_number, c.start_block - 1), 0) END AS lag_blocks,
           c.feed_seq, c.updated_at
    FROM chain.cursor c;
COMMENT ON VIEW v1.finality IS 'how far each chain is followed, and how much of it can no longer change';
COMMENT ON COLUMN v1.finality.safe_hash IS 'null where only a range of blocks was read, not each header';
COMMENT ON COLUMN v1.finality.lag_blocks IS 'blocks of the node that are not stored yet';
COMMENT ON COLUMN v1.finality.feed_seq IS 'the newest row of v1.feed';

CREATE VIEW v1.source AS
    SELECT s.chain_id, s.name, s.version,
           ARRAY(SELECT regexp_replace(t.name, '__[0-9]+$', '')
                 FROM unnest(s.tables) WITH ORDINALITY AS t (name, place) ORDER BY t.place) AS tables,
           s.start_block,
           CASE WHEN s.retired_seq IS NOT NULL THEN NULL
                WHEN s.joined_seq IS NOT NULL
                THEN (SELECT c.head_number FROM chain.cursor c WHERE c.chain_id = s.chain_id)
                ELSE (SELECT max(v.to_block) FROM chain.coverage v WHERE v.source_id = s.source_id)
           END AS covered_to,
           s.joined_at, s.joined_seq, s.retired_seq,
           CASE WHEN s.retired_seq IS NOT NULL THEN 'retired'
                WHEN s.joined_seq IS NOT NULL AND s.published_at IS NULL THEN 'joining'
                WHEN s.joined_seq IS NOT NULL THEN 'following'
                WHEN NOT s.wanted THEN 'abandoned'
                WHEN s.start_block IS NULL THEN 'waiting'
                ELSE 'backfilling' END AS state
    FROM chain.source s;
COMMENT ON VIEW v1.source IS 'the contracts of the configuration, a row for each version of one';
COMMENT ON COLUMN v1.source.tables IS 'its views in v1, which show the version that is following';
COMMENT ON COLUMN v1.source.covered_to IS 'the last block whose events are stored, none before it missing from start_block on; null before the first and for a version that was replaced';
COMMENT ON COLUMN v1.source.joined_seq IS 'rows of the feed up to this seq speak of it only where they name it';
COMMENT ON COLUMN v1.source.retired_seq IS 'rows of the feed above this seq no longer speak of it';
COMMENT ON COLUMN v1.source.state IS 'waiting: its first block is not known yet; backfilling; joining: its views are about to show it; following: they show it up to the head; retired: a newer version has taken its place; abandoned: the configuration dropped it before it followed';

GRANT SELECT ON v1.feed, v1.finality, v1.source TO landbridge_reader, landbridge_daemon;
