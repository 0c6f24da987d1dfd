-- What the chain said, and when we believed it. One writer (indexer/writer.py) under the fence of role
-- 'follow'. Blocks and logs are evidence: they are flagged canonical or orphaned, never changed in any
-- other way and never deleted. At or below the finalized block the flag itself is frozen. The feed
-- numbers every change of belief without gaps, so `WHERE seq > last` misses nothing: its seq is counted
-- in the cursor row, which the writer holds locked, and is therefore visible in commit order.

CREATE TABLE chain.cursor (
    chain_id          bigint PRIMARY KEY CHECK (chain_id > 0),
    genesis_hash      bytea NOT NULL CHECK (octet_length(genesis_hash) = 32),
    start_block       bigint NOT NULL CHECK (start_block >= 0),
    head_number       bigint CHECK (head_number >= start_block),
    head_hash         bytea CHECK (octet_length(head_hash) = 32),
    head_timestamp_s  bigint CHECK (head_timestamp_s >= 0),
    safe_number       bigint CHECK (safe_number >= start_block),
    finalized_number  bigint CHECK (finalized_number >= start_block),
    finalized_hash    bytea CHECK (octet_length(finalized_hash) = 32),
    feed_seq          bigint NOT NULL DEFAULT 0 CHECK (feed_seq >= 0),
    node_head_number  bigint CHECK (node_head_number >= 0),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (num_nulls(head_number, head_hash, head_timestamp_s) IN (0, 3)),
    CHECK (num_nulls(finalized_number, finalized_hash) IN (0, 2)),
    CHECK (finalized_number IS NULL OR (head_number IS NOT NULL AND finalized_number <= head_number)),
    CHECK (safe_number IS NULL OR (head_number IS NOT NULL AND safe_number <= head_number)),
    CHECK (finalized_number IS NULL OR (safe_number IS NOT NULL AND finalized_number <= safe_number))
);
COMMENT ON COLUMN chain.cursor.node_head_number IS 'the head that the node reported last; lag = this - head_number';
COMMENT ON COLUMN chain.cursor.safe_number IS 'the node''s safe block, capped at our head; never below finalized_number';

CREATE TABLE chain.block (
    chain_id     bigint NOT NULL REFERENCES chain.cursor,
    hash         bytea NOT NULL CHECK (octet_length(hash) = 32),
    number       bigint NOT NULL CHECK (number >= 0),
    parent_hash  bytea NOT NULL CHECK (octet_length(parent_hash) = 32),
    timestamp_s  bigint NOT NULL CHECK (timestamp_s >= 0),
    canonical    boolean NOT NULL,
    PRIMARY KEY (chain_id, hash)
);
CREATE UNIQUE INDEX block_canonical ON chain.block (chain_id, number) WHERE canonical;

CREATE TABLE chain.log (
    chain_id      bigint NOT NULL,
    block_hash    bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    log_index     bigint NOT NULL CHECK (log_index >= 0),
    block_number  bigint NOT NULL CHECK (block_number >= 0),
    tx_hash       bytea NOT NULL CHECK (octet_length(tx_hash) = 32),
    tx_index      bigint NOT NULL CHECK (tx_index >= 0),
    ordinal       bigint NOT NULL CHECK (ordinal >= 0),
    address       bytea NOT NULL CHECK (octet_length(address) = 20),
    topics        bytea[] NOT NULL CHECK (cardinality(topics) <= 4),
    data          bytea NOT NULL,
    decode_error  text CHECK (decode_error <> ''),
    canonical     boolean NOT NULL,
    PRIMARY KEY (chain_id, block_hash, log_index)
);
CREATE INDEX log_block_number ON chain.log (chain_id, block_number);
-- One log of one transaction is believed in at one place only, however often its transaction is re-mined.
CREATE UNIQUE INDEX log_identity ON chain.log (chain_id, tx_hash, address, ordinal) WHERE canonical;
COMMENT ON COLUMN chain.log.ordinal IS 'position among the logs of this address in its transaction, from 0';
COMMENT ON COLUMN chain.log.decode_error IS 'why event.* has no row for this log; null when it has one';

CREATE TABLE chain.reorg (
    chain_id         bigint NOT NULL REFERENCES chain.cursor,
    seq              bigint NOT NULL CHECK (seq > 0),
    ancestor_number  bigint NOT NULL CHECK (ancestor_number >= -1),
    ancestor_hash    bytea CHECK (octet_length(ancestor_hash) = 32),
    depth_blocks     bigint NOT NULL CHECK (depth_blocks > 0),
    old_head_number  bigint NOT NULL,
    old_head_hash    bytea NOT NULL CHECK (octet_length(old_head_hash) = 32),
    new_head_number  bigint NOT NULL,
    new_head_hash    bytea NOT NULL CHECK (octet_length(new_head_hash) = 32),
    seen_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, seq),
    CHECK (depth_blocks = old_head_number - ancestor_number)
);
COMMENT ON COLUMN chain.reorg.seq IS 'the feed''s seq of its first retraction';
COMMENT ON COLUMN chain.reorg.ancestor_hash IS 'null when the fork lies below the first block that was ever stored';

CREATE TABLE chain.feed (
    chain_id    bigint NOT NULL REFERENCES chain.cursor,
    seq         bigint NOT NULL CHECK (seq > 0),
    op          text NOT NULL CHECK (op IN ('apply', 'retract', 'finalize')),
    source_id   bigint,
    from_block  bigint NOT NULL CHECK (from_block >= 0),
    to_block    bigint NOT NULL,
    block_hash  bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, seq),
    CHECK (to_block >= from_block),
    CHECK (op = 'finalize' OR from_block = to_block)
);
CREATE INDEX feed_finalized ON chain.feed (chain_id, seq) WHERE op = 'finalize';
COMMENT ON COLUMN chain.feed.block_hash IS 'hash of to_block';
COMMENT ON COLUMN chain.feed.source_id IS 'null: every contract; set for ranges of one contract added later';

CREATE TABLE chain.consumer (
    name        text NOT NULL CHECK (name <> ''),
    chain_id    bigint NOT NULL REFERENCES chain.cursor,
    seq         bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, chain_id)
);

-- Rows flagged canonical or orphaned: nothing else of them ever changes, and at or below the finalized
-- block not even that. Used by chain.block, chain.log and every table in the schema event.
CREATE FUNCTION chain.refuse_final_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unflagged record := new;
    height    bigint;
    final     bigint;
BEGIN
    unflagged.canonical := old.canonical;
    IF unflagged IS DISTINCT FROM old THEN
        RAISE EXCEPTION '%.% is evidence: only its flag canonical may change',
            tg_table_schema, tg_table_name USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF new.canonical = old.canonical THEN
        RETURN new;
    END IF;
    IF tg_relid = 'chain.block'::regclass THEN
        height := old.number;
    ELSE
        height := old.block_number;
    END IF;
    SELECT finalized_number INTO final FROM chain.cursor WHERE chain_id = old.chain_id;
    IF height <= final THEN
        RAISE EXCEPTION '%.%: block % is final (finalized is %), its flag canonical cannot change',
            tg_table_schema, tg_table_name, height, final USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE FUNCTION chain.is_canonical(wanted_chain bigint, wanted_number bigint, wanted_hash bytea)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM chain.block WHERE chain_id = wanted_chain AND hash = wanted_hash
                   AND number = wanted_number AND canonical)
$$;

-- The cursor moves only to blocks that are stored and canonical. finalized never falls and never changes
-- its hash; safe falls only with a reorg that goes below it, and feed_seq never falls.
CREATE FUNCTION chain.guard_cursor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (new.chain_id, new.genesis_hash, new.start_block)
            IS DISTINCT FROM (old.chain_id, old.genesis_hash, old.start_block) THEN
        RAISE EXCEPTION 'chain %: chain id, genesis and start block never change', old.chain_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF new.feed_seq < old.feed_seq THEN
        RAISE EXCEPTION 'chain %: the feed cannot go back from % to %', old.chain_id, old.feed_seq,
            new.feed_seq USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF old.finalized_number IS NOT NULL AND (new.finalized_number IS NULL
            OR new.finalized_number < old.finalized_number
            OR (new.finalized_number = old.finalized_number AND new.finalized_hash <> old.finalized_hash)) THEN
        RAISE EXCEPTION 'chain %: finalized block % cannot become %', old.chain_id, old.finalized_number,
            coalesce(new.finalized_number::text, 'none') USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF new.finalized_number IS DISTINCT FROM old.finalized_number
            AND NOT chain.is_canonical(new.chain_id, new.finalized_number, new.finalized_hash) THEN
        RAISE EXCEPTION 'chain %: block % cannot become final, no canonical block has that number and hash',
            new.chain_id, new.finalized_number USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF new.head_hash IS NOT NULL AND new.head_hash IS DISTINCT FROM old.head_hash
            AND NOT chain.is_canonical(new.chain_id, new.head_number, new.head_hash) THEN
        RAISE EXCEPTION 'chain %: head % is not a canonical block', new.chain_id, new.head_number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF old.safe_number IS NOT NULL AND (new.safe_number IS NULL OR new.safe_number < old.safe_number)
            AND NOT EXISTS (SELECT FROM chain.reorg r WHERE r.chain_id = new.chain_id
                AND r.seq > old.feed_seq AND r.ancestor_number < old.safe_number
                AND coalesce(new.safe_number, new.start_block - 1) >= r.ancestor_number) THEN
        RAISE EXCEPTION 'chain %: safe block % cannot fall to % without a reorg', old.chain_id,
            old.safe_number, coalesce(new.safe_number::text, 'none')
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE FUNCTION chain.guard_new_cursor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF num_nonnulls(new.head_number, new.safe_number, new.finalized_number) > 0 OR new.feed_seq <> 0 THEN
        RAISE EXCEPTION 'chain %: a cursor begins before its first block', new.chain_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- Rows come without gaps and not past the number that the cursor has counted; at the commit the last row
-- is the cursor's (chain.require_feed_row). Checked for each statement, so a chunk costs one check.
CREATE FUNCTION chain.guard_feed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    batch record;
BEGIN
    FOR batch IN SELECT chain_id, min(seq) AS first_seq, max(seq) AS last_seq, count(*) AS row_count
                 FROM added GROUP BY chain_id LOOP
        IF batch.last_seq - batch.first_seq + 1 <> batch.row_count
                OR (batch.first_seq > 1 AND NOT EXISTS (SELECT FROM chain.feed
                    WHERE chain_id = batch.chain_id AND seq = batch.first_seq - 1))
                OR batch.last_seq > (SELECT feed_seq FROM chain.cursor WHERE chain_id = batch.chain_id) THEN
            RAISE EXCEPTION 'chain %: feed rows % to % leave a gap or pass the cursor', batch.chain_id,
                batch.first_seq, batch.last_seq USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION chain.require_feed_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted bigint := (SELECT feed_seq FROM chain.cursor WHERE chain_id = new.chain_id);
BEGIN
    IF counted > 0 AND NOT EXISTS (SELECT FROM chain.feed WHERE chain_id = new.chain_id AND seq = counted) THEN
        RAISE EXCEPTION 'chain %: the cursor counted % feed rows and the last is missing', new.chain_id,
            counted USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION chain.guard_consumer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'UPDATE' AND (new.name, new.chain_id) IS DISTINCT FROM (old.name, old.chain_id) THEN
        RAISE EXCEPTION 'consumer % cannot be renamed', old.name
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF tg_op = 'UPDATE' AND new.seq < old.seq THEN
        RAISE EXCEPTION 'consumer % cannot go back from seq % to %', old.name, old.seq, new.seq
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF new.seq > (SELECT feed_seq FROM chain.cursor WHERE chain_id = new.chain_id) THEN
        RAISE EXCEPTION 'consumer % cannot be at seq %, the feed has not come so far', new.name, new.seq
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER finality BEFORE UPDATE ON chain.block
    FOR EACH ROW EXECUTE FUNCTION chain.refuse_final_change();
CREATE TRIGGER finality BEFORE UPDATE ON chain.log
    FOR EACH ROW EXECUTE FUNCTION chain.refuse_final_change();
CREATE TRIGGER guard BEFORE UPDATE ON chain.cursor FOR EACH ROW EXECUTE FUNCTION chain.guard_cursor();
CREATE TRIGGER guard_new BEFORE INSERT ON chain.cursor
    FOR EACH ROW EXECUTE FUNCTION chain.guard_new_cursor();
CREATE TRIGGER gapless AFTER INSERT ON chain.feed REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION chain.guard_feed();
CREATE CONSTRAINT TRIGGER feed_row AFTER UPDATE OF feed_seq ON chain.cursor DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION chain.require_feed_row();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON chain.consumer
    FOR EACH ROW EXECUTE FUNCTION chain.guard_consumer();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON chain.feed
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON chain.reorg
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON chain.block FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON chain.log FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON chain.cursor FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

DO $$
DECLARE
    guarded text;
BEGIN
    FOREACH guarded IN ARRAY ARRAY['cursor', 'block', 'log', 'reorg', 'feed'] LOOP
        EXECUTE format('CREATE TRIGGER fence BEFORE INSERT OR UPDATE ON chain.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence(''follow'')', guarded);
        EXECUTE format('CREATE TRIGGER not_truncated BEFORE TRUNCATE ON chain.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()', guarded);
    END LOOP;
END $$;
