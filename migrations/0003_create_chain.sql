-- What the chain said, and when we believed it. One writer for each chain (indexer/writer.py) under the
-- fence of role 'follow:<chain id>'. Blocks and logs are evidence: they are flagged canonical or orphaned,
-- never changed in any other way, and removed only as 0011_create_retention.sql allows. At or below the
-- finalized block the flag itself is frozen. The feed numbers every change of belief without gaps, so `WHERE seq > last` misses nothing: its
-- seq is counted in the cursor row, which the writer holds locked, and is therefore visible in commit order.

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
COMMENT ON COLUMN chain.cursor.start_block IS 'the first block that was followed header by header; older ones are read in ranges, see chain.coverage';
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
CREATE INDEX block_orphaned ON chain.block (chain_id, number) WHERE NOT canonical;

-- One version of a contract of the configuration. Made by `landbridge migrate`, the owner, together with
-- its tables; the daemon only says where it begins (once found), when it joined and when it was replaced.
CREATE TABLE chain.source (
    source_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id         bigint NOT NULL CHECK (chain_id > 0),
    name             text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]*$'),
    version          integer NOT NULL CHECK (version > 0),
    fingerprint      bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    definition       jsonb NOT NULL,
    tables           text[] NOT NULL,
    partition_blocks bigint CHECK (partition_blocks > 0),
    view_sql         text NOT NULL,
    index_sql        text NOT NULL,
    evidence         boolean NOT NULL,
    verify           text NOT NULL CHECK (verify IN ('none', 'bloom', 'full')),
    start_block      bigint CHECK (start_block >= 0),
    joined_seq       bigint CHECK (joined_seq >= 0),
    joined_at        timestamptz,
    indexed_at       timestamptz,
    published_at     timestamptz,
    wanted           boolean NOT NULL DEFAULT true,
    retired_seq      bigint CHECK (retired_seq >= joined_seq),
    dropped_at       timestamptz,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (name, version),
    CHECK (num_nulls(joined_seq, joined_at) IN (0, 2)),
    CHECK (joined_seq IS NULL OR num_nulls(start_block, indexed_at) = 0)
);
COMMENT ON COLUMN chain.source.fingerprint IS 'of all that decides which rows the tables hold: another one is another version';
COMMENT ON COLUMN chain.source.joined_seq IS 'the feed''s last seq before rows without source_id speak for this source too';
COMMENT ON COLUMN chain.source.retired_seq IS 'the feed''s last seq that speaks for this source: a newer version has taken its place';
COMMENT ON COLUMN chain.source.evidence IS 'it is kept raw: nothing of it is ever removed';
COMMENT ON COLUMN chain.source.verify IS 'how far a node is trusted at most, as last configured; a daemon whose settings are older or younger takes the stricter of both';
COMMENT ON COLUMN chain.source.dropped_at IS 'when its tables were dropped, after its end';
COMMENT ON COLUMN chain.source.wanted IS 'whether the configuration asks for it; one that is not is followed only until its successor joins';
COMMENT ON COLUMN chain.source.view_sql IS 'what chain.publish executes when the source has joined';

-- The ranges of final blocks whose logs a source has, each written with its rows in one transaction.
CREATE TABLE chain.coverage (
    source_id   bigint NOT NULL REFERENCES chain.source,
    from_block  bigint NOT NULL CHECK (from_block >= 0),
    to_block    bigint NOT NULL,
    row_count   bigint NOT NULL CHECK (row_count >= 0),
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source_id, from_block),
    CHECK (to_block >= from_block)
);

CREATE TABLE chain.log (
    chain_id      bigint NOT NULL,
    source_id     bigint NOT NULL REFERENCES chain.source,
    block_number  bigint NOT NULL CHECK (block_number >= 0),
    block_hash    bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    log_index     integer NOT NULL CHECK (log_index >= 0),
    tx_hash       bytea NOT NULL CHECK (octet_length(tx_hash) = 32),
    tx_index      integer NOT NULL CHECK (tx_index >= 0),
    ordinal       integer NOT NULL CHECK (ordinal >= 0),
    address       bytea NOT NULL CHECK (octet_length(address) = 20),
    topics        bytea[] NOT NULL CHECK (cardinality(topics) <= 4),
    data          bytea NOT NULL,
    decode_error  text CHECK (decode_error <> ''),
    canonical     boolean NOT NULL,
    PRIMARY KEY (source_id, block_number, block_hash, log_index)
);
CREATE INDEX log_block_number ON chain.log (chain_id, block_number);
CREATE INDEX log_orphaned ON chain.log (chain_id, block_number) WHERE NOT canonical;
-- One log of one transaction is believed in at one place only, however often its transaction is re-mined.
CREATE UNIQUE INDEX log_identity ON chain.log (tx_hash, address, ordinal, source_id) WHERE canonical;
COMMENT ON TABLE chain.log IS 'raw logs: all of a source that keeps them, and of every source those that could not be decoded';
COMMENT ON COLUMN chain.log.ordinal IS 'position among the source''s logs of this address in its transaction, from 0';
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
    source_id   bigint REFERENCES chain.source,
    from_block  bigint NOT NULL CHECK (from_block >= 0),
    to_block    bigint NOT NULL,
    block_hash  bytea CHECK (octet_length(block_hash) = 32),
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, seq),
    CHECK (block_hash IS NOT NULL OR source_id IS NOT NULL),
    CHECK (to_block >= from_block),
    CHECK (op <> 'retract' OR from_block = to_block),
    CHECK (op = 'apply' OR source_id IS NULL)
);
CREATE INDEX feed_finalized ON chain.feed (chain_id, seq) WHERE op = 'finalize';
COMMENT ON COLUMN chain.feed.block_hash IS 'hash of to_block; null for a range of one source, all final';
COMMENT ON COLUMN chain.feed.source_id IS 'null: every source that had joined before (joined_seq < seq); set: this source alone';

CREATE TABLE chain.consumer (
    name        text NOT NULL CHECK (name <> ''),
    chain_id    bigint NOT NULL REFERENCES chain.cursor,
    seq         bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, chain_id)
);

-- What was believed at a commit: what a consumer that never read the feed's rows up to seq needs in their
-- stead. Every source that had joined at seq (joined_seq <= seq) and had not ended has its canonical rows from
-- its start_block to finalized_number, and the rows of the blocks above it, whose hashes are here, lowest first.
CREATE TABLE chain.snapshot (
    chain_id          bigint NOT NULL REFERENCES chain.cursor,
    seq               bigint NOT NULL CHECK (seq > 0),
    finalized_number  bigint NOT NULL CHECK (finalized_number >= 0),
    finalized_hash    bytea NOT NULL CHECK (octet_length(finalized_hash) = 32),
    head_number       bigint NOT NULL,
    head_hash         bytea NOT NULL CHECK (octet_length(head_hash) = 32),
    hashes            bytea[] NOT NULL,
    made_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, seq),
    CHECK (cardinality(hashes) = head_number - finalized_number),
    CHECK (head_hash = coalesce(hashes[cardinality(hashes)], finalized_hash))
);
COMMENT ON COLUMN chain.snapshot.seq IS 'the feed''s last seq that it replaces';
COMMENT ON COLUMN chain.snapshot.hashes IS 'of the blocks above finalized_number up to head_number';

-- Where the feed of each chain begins by now. Its row is made with the cursor's, and locked by whoever removes
-- rows and by whoever begins to consume them.
CREATE TABLE chain.pruned (
    chain_id     bigint PRIMARY KEY REFERENCES chain.cursor,
    feed_from    bigint NOT NULL DEFAULT 1 CHECK (feed_from > 0),
    orphan_rows  bigint NOT NULL DEFAULT 0 CHECK (orphan_rows >= 0),
    at           timestamptz
);
COMMENT ON COLUMN chain.pruned.feed_from IS 'the oldest seq that the feed has, once it has any; as many less one were removed';
COMMENT ON COLUMN chain.pruned.orphan_rows IS 'orphaned blocks, logs and events that were removed';

-- Inside a transaction under the fence of this very chain's role.
CREATE FUNCTION chain.require_chain_fence(wanted_chain bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('landbridge.fence', true), '') <> 'follow:' || wanted_chain THEN
        RAISE EXCEPTION 'writing chain % needs the fence of role follow:%', wanted_chain, wanted_chain
            USING ERRCODE = 'LB001';
    END IF;
END $$;

-- For statements, which do not know their rows' chain: some chain's fence. The cursor's row, which every
-- step moves, and each source's row ask for the very chain.
CREATE FUNCTION chain.require_some_fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('landbridge.fence', true), '') NOT LIKE 'follow:%' THEN
        RAISE EXCEPTION 'writing %.% needs the fence of a role follow:…', tg_table_schema, tg_table_name
            USING ERRCODE = 'LB001';
    END IF;
    RETURN NULL;
END $$;

-- Rows flagged canonical or orphaned: nothing else of them ever changes, and at or below the finalized
-- block not even that. Used by chain.block, chain.log and every table in the schema event, where the chain's
-- id is the trigger's argument.
CREATE FUNCTION chain.refuse_final_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unflagged record := new;
    chain     bigint;
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
    IF tg_nargs = 1 THEN
        chain := tg_argv[0];
    ELSE
        chain := old.chain_id;
    END IF;
    IF tg_relid = 'chain.block'::regclass THEN
        height := old.number;
    ELSE
        height := old.block_number;
    END IF;
    SELECT finalized_number INTO final FROM chain.cursor WHERE chain_id = chain;
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
    PERFORM chain.require_chain_fence(old.chain_id);
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
    PERFORM chain.require_chain_fence(new.chain_id);
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

-- Orphan everything above a height, in the named tables of the schema event too.
CREATE FUNCTION chain.orphan_above(wanted_chain bigint, height bigint, tables text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    table_name text;
BEGIN
    UPDATE chain.block SET canonical = false WHERE chain_id = wanted_chain AND canonical AND number > height;
    UPDATE chain.log SET canonical = false WHERE chain_id = wanted_chain AND canonical AND block_number > height;
    FOREACH table_name IN ARRAY tables LOOP
        EXECUTE format('UPDATE event.%I SET canonical = false WHERE canonical AND block_number > $1', table_name)
            USING height;
    END LOOP;
END $$;

-- Believe again in orphaned blocks, which come back.
CREATE FUNCTION chain.restore(wanted_chain bigint, numbers bigint[], hashes bytea[], tables text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    table_name text;
BEGIN
    UPDATE chain.block SET canonical = true WHERE chain_id = wanted_chain AND NOT canonical AND hash = ANY (hashes);
    UPDATE chain.log SET canonical = true
    WHERE chain_id = wanted_chain AND NOT canonical AND block_number = ANY (numbers) AND block_hash = ANY (hashes);
    FOREACH table_name IN ARRAY tables LOOP
        EXECUTE format('UPDATE event.%I SET canonical = true
                        WHERE NOT canonical AND block_number = ANY ($1) AND block_hash = ANY ($2)', table_name)
            USING numbers, hashes;
    END LOOP;
END $$;

-- Balances out of the transfers of canonical blocks that were just written, from_block to to_block: a row for
-- each holder in each block that changed it. The zero address counts as a holder, whose balance is the supply
-- with the sign turned. Rows are flagged with their block as any other row, so a reorg takes them back.
CREATE FUNCTION chain.derive_balances(transfers text, sender text, recipient text, amount text, changes text,
                                      first_block bigint, last_block bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('
        WITH moved AS (
            SELECT address, holder, block_number, block_hash, block_timestamp_s, sum(moved) AS moved
            FROM (SELECT address, %2$I AS holder, block_number, block_hash, block_timestamp_s, -%4$I AS moved
                  FROM event.%1$I WHERE canonical AND block_number BETWEEN $1 AND $2
                  UNION ALL
                  SELECT address, %3$I, block_number, block_hash, block_timestamp_s, %4$I
                  FROM event.%1$I WHERE canonical AND block_number BETWEEN $1 AND $2) AS sides
            GROUP BY address, holder, block_number, block_hash, block_timestamp_s
        ), before AS (
            SELECT address, holder, coalesce((
                SELECT c.balance FROM event.%5$I c
                WHERE c.canonical AND c.address = m.address AND c.holder = m.holder AND c.block_number < $1
                ORDER BY c.block_number DESC LIMIT 1), 0) AS balance
            FROM (SELECT DISTINCT address, holder FROM moved) AS m
        )
        INSERT INTO event.%5$I (block_number, block_hash, block_timestamp_s, address, holder, balance, canonical)
        SELECT block_number, block_hash, block_timestamp_s, address, holder,
               balance + sum(moved) OVER (PARTITION BY address, holder ORDER BY block_number), true
        FROM moved JOIN before USING (address, holder)',
        transfers, sender, recipient, amount, changes) USING first_block, last_block;
END $$;

-- Ranges of a source follow one another from its start block, and never pass the finalized block; so what
-- is covered has no hole, and nothing in it can be taken back. Once it has joined, the cursor tells instead.
CREATE FUNCTION chain.guard_coverage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    source  chain.source;
    final   bigint;
    next_   bigint;
BEGIN
    SELECT * INTO source FROM chain.source s WHERE s.source_id = new.source_id FOR UPDATE;
    PERFORM chain.require_chain_fence(source.chain_id);
    SELECT finalized_number INTO final FROM chain.cursor WHERE chain_id = source.chain_id;
    SELECT coalesce(max(to_block) + 1, source.start_block) INTO next_ FROM chain.coverage WHERE source_id = new.source_id;
    IF source.joined_seq IS NOT NULL OR new.from_block IS DISTINCT FROM next_
            OR final IS NULL OR new.to_block > final THEN
        RAISE EXCEPTION 'source % (%): coverage of % to % refused: next is %, final is %, joined at seq %',
            source.source_id, source.name, new.from_block, new.to_block, next_, final, source.joined_seq
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- What is written once stays; start, joining, publication and retirement are each said once. What is wanted, and how
-- far nodes are trusted with it, is the owner's to say.
CREATE FUNCTION chain.guard_source() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    settled chain.source := new;
BEGIN
    settled.start_block := coalesce(old.start_block, new.start_block);
    settled.joined_seq := coalesce(old.joined_seq, new.joined_seq);
    settled.joined_at := coalesce(old.joined_at, new.joined_at);
    settled.indexed_at := coalesce(old.indexed_at, new.indexed_at);
    settled.published_at := coalesce(old.published_at, new.published_at);
    settled.retired_seq := coalesce(old.retired_seq, new.retired_seq);
    settled.dropped_at := coalesce(old.dropped_at, new.dropped_at);
    IF settled IS DISTINCT FROM new
            OR (old.source_id, old.chain_id, old.name, old.version, old.fingerprint, old.definition, old.tables,
                old.partition_blocks, old.view_sql, old.index_sql, old.evidence, old.created_at)
               IS DISTINCT FROM
               (new.source_id, new.chain_id, new.name, new.version, new.fingerprint, new.definition, new.tables,
                new.partition_blocks, new.view_sql, new.index_sql, new.evidence, new.created_at) THEN
        RAISE EXCEPTION 'source % (% version %) is a record: its start, joining and end are each said once',
            old.source_id, old.name, old.version USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (old.wanted, old.verify) = (new.wanted, new.verify) THEN
        PERFORM chain.require_chain_fence(old.chain_id);
    END IF;
    RETURN new;
END $$;

-- Done by the owner's right, since the daemon owns no table; what is executed was written by the owner.
CREATE FUNCTION chain.build_indexes(the_source bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    source chain.source;
BEGIN
    SELECT * INTO source FROM chain.source WHERE source_id = the_source;
    IF source.index_sql <> '' THEN
        EXECUTE source.index_sql;
    END IF;
END $$;

CREATE FUNCTION chain.publish(the_source bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    source chain.source;
BEGIN
    SELECT * INTO source FROM chain.source WHERE source_id = the_source FOR UPDATE;
    IF source.joined_seq IS NULL THEN
        RAISE EXCEPTION 'source % has not joined: its views are not shown yet', the_source
            USING ERRCODE = 'integrity_constraint_violation';
    ELSIF source.published_at IS NULL THEN
        EXECUTE source.view_sql;
        UPDATE chain.source SET published_at = clock_timestamp() WHERE source_id = the_source;
    END IF;
END $$;

-- Partitions of a source's tables up to the one that holds block `through`; made ahead of time, so that
-- the writer never waits for one. Attaching takes no lock that a reader notices. Answers how many were made.
CREATE FUNCTION chain.make_partitions(the_source bigint, through bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    source     chain.source;
    table_name text;
    part       text;
    lower_     bigint;
    made       integer := 0;
BEGIN
    SELECT * INTO source FROM chain.source WHERE source_id = the_source FOR UPDATE;
    IF source.partition_blocks IS NULL OR source.start_block IS NULL THEN
        RETURN 0;
    END IF;
    FOR position_ IN 1 .. cardinality(source.tables) LOOP
        table_name := source.tables[position_];
        lower_ := source.start_block / source.partition_blocks * source.partition_blocks;
        WHILE lower_ <= through LOOP
            part := format('s%s_%s_%s', the_source, position_, lower_);
            IF to_regclass(format('event_part.%I', part)) IS NULL THEN
                EXECUTE format('CREATE TABLE event_part.%I (LIKE event.%I INCLUDING ALL)', part, table_name);
                EXECUTE format('ALTER TABLE event.%I ATTACH PARTITION event_part.%I FOR VALUES FROM (%s) TO (%s)',
                    table_name, part, lower_, lower_ + source.partition_blocks);
                made := made + 1;
            END IF;
            lower_ := lower_ + source.partition_blocks;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

-- Whoever begins to consume holds the feed's beginning until the commit, so that it is not removed meanwhile.
CREATE FUNCTION chain.guard_consumer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first_ bigint;
BEGIN
    IF tg_op = 'UPDATE' AND (new.name, new.chain_id) IS DISTINCT FROM (old.name, old.chain_id) THEN
        RAISE EXCEPTION 'consumer % cannot be renamed', old.name
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF tg_op = 'UPDATE' AND new.seq < old.seq THEN
        RAISE EXCEPTION 'consumer % cannot go back from seq % to %', old.name, old.seq, new.seq
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF tg_op = 'INSERT' THEN
        SELECT feed_from INTO first_ FROM chain.pruned WHERE chain_id = new.chain_id FOR SHARE;
        IF new.seq < first_ - 1 THEN
            RAISE EXCEPTION 'consumer % cannot begin at seq % of chain %: its feed begins at %, older rows were removed',
                new.name, new.seq, new.chain_id, first_
                USING ERRCODE = 'LB005', HINT = 'Begin with v1.snapshot, and behind its seq.';
        END IF;
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
CREATE TRIGGER guard BEFORE INSERT ON chain.coverage FOR EACH ROW EXECUTE FUNCTION chain.guard_coverage();
CREATE TRIGGER guard BEFORE UPDATE ON chain.source FOR EACH ROW EXECUTE FUNCTION chain.guard_source();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON chain.consumer
    FOR EACH ROW EXECUTE FUNCTION chain.guard_consumer();

CREATE TRIGGER append_only BEFORE UPDATE ON chain.feed
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON chain.reorg
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON chain.coverage
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON chain.source FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER kept BEFORE DELETE ON chain.cursor FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

DO $$
DECLARE
    guarded text;
BEGIN
    FOREACH guarded IN ARRAY ARRAY['cursor', 'block', 'log', 'reorg', 'feed', 'coverage', 'snapshot', 'pruned'] LOOP
        EXECUTE format('CREATE TRIGGER fence BEFORE INSERT OR UPDATE ON chain.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION chain.require_some_fence()', guarded);
        EXECUTE format('CREATE TRIGGER not_truncated BEFORE TRUNCATE ON chain.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()', guarded);
    END LOOP;
END $$;

-- The owner alone says what is followed.
REVOKE INSERT, UPDATE ON chain.source FROM landbridge_daemon;
GRANT UPDATE (start_block, joined_seq, joined_at, indexed_at, published_at, retired_seq) ON chain.source TO landbridge_daemon;
REVOKE EXECUTE ON FUNCTION chain.build_indexes, chain.publish, chain.make_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chain.build_indexes, chain.publish, chain.make_partitions TO landbridge_daemon;
