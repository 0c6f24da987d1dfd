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
           c.feed_seq, p.feed_from, c.updated_at
    FROM chain.cursor c JOIN chain.pruned p USING (chain_id);
COMMENT ON VIEW v1.finality IS 'how far each chain is followed, and how much of it can no longer change';
COMMENT ON COLUMN v1.finality.safe_hash IS 'null where only a range of blocks was read, not each header';
COMMENT ON COLUMN v1.finality.lag_blocks IS 'blocks of the node that are not stored yet';
COMMENT ON COLUMN v1.finality.feed_seq IS 'the newest row of v1.feed';
COMMENT ON COLUMN v1.finality.feed_from IS 'the oldest row of v1.feed; whoever has not read the row before it begins with v1.snapshot';

-- The feed behind a row. A view cannot know which rows its reader lacks; this says so.
CREATE FUNCTION v1.feed_after(of_chain bigint, after_seq bigint, max_rows integer) RETURNS SETOF v1.feed
LANGUAGE plpgsql STABLE AS $$
DECLARE
    first_ bigint := (SELECT feed_from FROM v1.finality WHERE chain_id = of_chain);
BEGIN
    IF after_seq < first_ - 1 THEN
        RAISE EXCEPTION 'the feed of chain % begins at seq %: the row behind % was removed', of_chain, first_, after_seq
            USING ERRCODE = 'LB005', HINT = 'Begin with v1.snapshot, and behind its seq.';
    END IF;
    RETURN QUERY SELECT * FROM v1.feed WHERE chain_id = of_chain AND seq > after_seq ORDER BY seq LIMIT max_rows;
END $$;
COMMENT ON FUNCTION v1.feed_after IS 'the rows of v1.feed behind a seq, in order; an error (LB005) if some of them were removed';

CREATE VIEW v1.snapshot AS
    WITH newest AS (
        SELECT DISTINCT ON (chain_id) * FROM chain.snapshot ORDER BY chain_id, seq DESC
    ), told AS (
        SELECT n.chain_id, n.seq, s.name, s.start_block
        FROM newest n JOIN chain.source s ON s.chain_id = n.chain_id
        WHERE s.joined_seq <= n.seq AND (s.retired_seq IS NULL OR s.retired_seq > n.seq)
          AND s.published_at IS NOT NULL
          AND NOT EXISTS (SELECT FROM chain.source later WHERE later.name = s.name
                          AND later.version > s.version AND later.published_at IS NOT NULL)
    )
    SELECT n.chain_id, n.seq, 'apply' AS op, t.name AS source, t.start_block AS from_block,
           n.finalized_number AS to_block, NULL::bytea AS block_hash, n.made_at AS at, ARRAY[t.name] AS contracts
    FROM newest n JOIN told t USING (chain_id) WHERE t.start_block <= n.finalized_number
    UNION ALL
    SELECT n.chain_id, n.seq, 'apply', NULL, n.finalized_number + b.place, n.finalized_number + b.place, b.hash,
           n.made_at, ARRAY(SELECT t.name FROM told t WHERE t.chain_id = n.chain_id ORDER BY t.name)
    FROM newest n CROSS JOIN LATERAL unnest(n.hashes) WITH ORDINALITY AS b (hash, place)
    UNION ALL
    SELECT n.chain_id, n.seq, 'finalize', NULL, c.start_block, n.finalized_number, n.finalized_hash, n.made_at,
           ARRAY(SELECT t.name FROM told t WHERE t.chain_id = n.chain_id ORDER BY t.name)
    FROM newest n JOIN chain.cursor c USING (chain_id);
COMMENT ON VIEW v1.snapshot IS 'what was believed of each chain at the seq of its newest snapshot, as rows of v1.feed that can be acted on in their stead, in any order; v1.feed goes on behind that seq';

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

GRANT SELECT ON v1.feed, v1.finality, v1.snapshot, v1.source TO landbridge_reader, landbridge_daemon;
