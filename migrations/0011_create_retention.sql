-- What may be removed, and nothing else: the oldest rows of the feed, below a snapshot that every consumer has
-- passed; and then what was orphaned at or below the snapshot's finalized block, which no row of the feed that is
-- left speaks of, and which cannot come back. Canonical rows stay, reorgs stay, and so does everything of a source
-- that is kept raw, which is evidence.
--
-- The daemon's role may delete nothing. It calls chain.prune, which deletes by its owner's right; and the triggers
-- ask of each row whether it may go, whoever deletes it, so neither a mistake in that function nor an owner's
-- DELETE by hand removes more.

-- The feed begins with the cursor.
CREATE FUNCTION chain.begin_feed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO chain.pruned (chain_id) VALUES (new.chain_id);
    RETURN NULL;
END $$;

-- What is believed now. The cursor is held, so nobody writes the chain meanwhile. Answers with the snapshot's seq;
-- null while nothing is final.
CREATE FUNCTION chain.take_snapshot(wanted_chain bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place chain.cursor;
BEGIN
    PERFORM chain.require_chain_fence(wanted_chain);
    SELECT * INTO place FROM chain.cursor WHERE chain_id = wanted_chain FOR SHARE;
    IF place.finalized_number IS NULL OR place.feed_seq = 0 THEN
        RETURN NULL;
    END IF;
    INSERT INTO chain.snapshot (chain_id, seq, finalized_number, finalized_hash, head_number, head_hash, hashes)
    SELECT wanted_chain, place.feed_seq, place.finalized_number, place.finalized_hash, place.head_number,
           place.head_hash, ARRAY(SELECT b.hash FROM chain.block b WHERE b.chain_id = wanted_chain AND b.canonical
                                  AND b.number > place.finalized_number ORDER BY b.number)
    ON CONFLICT DO NOTHING;
    RETURN place.feed_seq;
END $$;

-- After rows of the feed were deleted: they were its oldest, without a gap, below a snapshot, and every consumer
-- has passed that. A consumer that begins now waits for us or we for it, so this is asked of the present, not of
-- a transaction's older view.
CREATE FUNCTION chain.guard_feed_removal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    batch  record;
    first_ bigint;
BEGIN
    FOR batch IN SELECT chain_id, min(seq) AS first_seq, max(seq) AS last_seq, count(*) AS row_count
                 FROM removed GROUP BY chain_id LOOP
        IF current_setting('transaction_isolation') <> 'read committed' THEN
            RAISE EXCEPTION 'chain %: rows of the feed are removed in READ COMMITTED only', batch.chain_id
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        SELECT feed_from INTO first_ FROM chain.pruned WHERE chain_id = batch.chain_id FOR UPDATE;
        IF batch.first_seq <> first_ OR batch.last_seq - batch.first_seq + 1 <> batch.row_count THEN
            RAISE EXCEPTION 'chain %: feed rows % to % are not all of its oldest', batch.chain_id, batch.first_seq,
                batch.last_seq USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF NOT EXISTS (SELECT FROM chain.snapshot n WHERE n.chain_id = batch.chain_id AND n.seq > batch.last_seq
                       AND n.seq <= ALL (SELECT c.seq FROM chain.consumer c WHERE c.chain_id = batch.chain_id)) THEN
            RAISE EXCEPTION 'chain %: feed rows up to % are not below a snapshot that every consumer has passed',
                batch.chain_id, batch.last_seq USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        UPDATE chain.pruned SET feed_from = batch.last_seq + 1, at = clock_timestamp() WHERE chain_id = batch.chain_id;
    END LOOP;
    RETURN NULL;
END $$;

-- The feed begins at a row that is there, behind one that is not, and never earlier than it did.
CREATE FUNCTION chain.guard_pruned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM chain.require_chain_fence(old.chain_id);
    IF new.chain_id <> old.chain_id OR new.feed_from < old.feed_from OR new.orphan_rows < old.orphan_rows
            OR new.feed_from > old.feed_from AND (
                NOT EXISTS (SELECT FROM chain.feed WHERE chain_id = new.chain_id AND seq = new.feed_from)
                OR EXISTS (SELECT FROM chain.feed WHERE chain_id = new.chain_id AND seq = new.feed_from - 1)) THEN
        RAISE EXCEPTION 'chain %: its feed does not begin at %', new.chain_id, new.feed_from
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- Whether no row of the feed speaks of what was orphaned at this height.
CREATE FUNCTION chain.is_forgotten(wanted_chain bigint, height bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM chain.snapshot n JOIN chain.pruned p USING (chain_id)
                   WHERE n.chain_id = wanted_chain AND n.seq <= p.feed_from AND n.finalized_number >= height)
$$;

-- Used by chain.block, chain.log and every table in the schema event that is no evidence, where the chain's id is
-- the trigger's argument.
CREATE FUNCTION chain.guard_orphan() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    chain    bigint;
    height   bigint;
    evidence boolean := false;
BEGIN
    IF tg_nargs = 1 THEN
        chain := tg_argv[0];
    ELSE
        chain := old.chain_id;
    END IF;
    IF tg_relid = 'chain.block'::regclass THEN
        height := old.number;
        evidence := EXISTS (SELECT FROM chain.source s WHERE s.chain_id = chain AND s.evidence);
    ELSE
        height := old.block_number;
    END IF;
    IF tg_relid = 'chain.log'::regclass THEN
        evidence := (SELECT s.evidence FROM chain.source s WHERE s.source_id = old.source_id);
    END IF;
    IF old.canonical OR evidence OR NOT chain.is_forgotten(chain, height) THEN
        RAISE EXCEPTION '%.%: a row of block % may not be removed: only what was orphaned, is no evidence, and is final below a snapshot where the feed begins',
            tg_table_schema, tg_table_name, height USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN old;
END $$;

-- A snapshot is of use as long as no newer one stands where the feed begins.
CREATE FUNCTION chain.guard_snapshot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM chain.snapshot n JOIN chain.pruned p USING (chain_id)
                   WHERE n.chain_id = old.chain_id AND n.seq > old.seq AND n.seq <= p.feed_from) THEN
        RAISE EXCEPTION 'chain %: the snapshot at seq % is still of use', old.chain_id, old.seq
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN old;
END $$;

-- The tables of a version may go once it has ended, other views than its own are shown, and the feed, which begins
-- with a snapshot at `begins`, does not speak of it any more.
CREATE FUNCTION chain.may_drop(version_ chain.source, begins bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT version_.evidence AND version_.dropped_at IS NULL AND coalesce(version_.retired_seq < begins, false)
       AND EXISTS (SELECT FROM chain.source s WHERE s.name = version_.name AND s.version > version_.version
                   AND s.published_at IS NOT NULL)
$$;

CREATE FUNCTION chain.guard_dropping() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT chain.may_drop(old, (SELECT max(n.seq) FROM chain.snapshot n JOIN chain.pruned p USING (chain_id)
                                WHERE n.chain_id = old.chain_id AND n.seq <= p.feed_from)) THEN
        RAISE EXCEPTION 'source % (% version %): its tables may not be dropped: only those of a version that is no evidence, was replaced, and that the feed does not speak of any more',
            old.source_id, old.name, old.version USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- Remove about max_rows orphaned rows of one table, the oldest first and those of a height together. `which` is a
-- condition of ours on further columns.
CREATE FUNCTION chain.remove_orphans(table_name regclass, height_column text, which text, final bigint,
                                     max_rows integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone integer;
BEGIN
    EXECUTE format('
        DELETE FROM %1$s WHERE NOT canonical AND %3$s AND %2$I <= (
            SELECT max(height) FROM (
                SELECT %2$I AS height FROM %1$s WHERE NOT canonical AND %3$s AND %2$I <= $1
                ORDER BY %2$I LIMIT $2) AS oldest)',
        table_name, height_column, which) USING final, max_rows;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

-- One bounded step of removal down to a snapshot: rows of the feed below it, and when there are no more, what was
-- orphaned, and snapshots that are of no use any more. Answers how many rows went; 0 when nothing is left to do.
CREATE FUNCTION chain.prune(wanted_chain bigint, to_seq bigint, max_rows integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept       chain.snapshot;
    source     chain.source;
    first_     bigint;
    table_name text;
    gone       integer := 0;
BEGIN
    PERFORM chain.require_chain_fence(wanted_chain);
    IF max_rows NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'a step removes 1 to 10000 rows, not %', max_rows USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO kept FROM chain.snapshot WHERE chain_id = wanted_chain AND seq = to_seq;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'chain %: there is no snapshot at seq %', wanted_chain, to_seq
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT feed_from INTO first_ FROM chain.pruned WHERE chain_id = wanted_chain FOR UPDATE;
    DELETE FROM chain.feed WHERE chain_id = wanted_chain AND seq >= first_ AND seq < least(to_seq, first_ + max_rows);
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone > 0 THEN
        RETURN gone;
    END IF;
    FOR source IN SELECT * FROM chain.source s WHERE s.chain_id = wanted_chain AND NOT s.evidence LOOP
        FOREACH table_name IN ARRAY CASE WHEN source.dropped_at IS NULL THEN source.tables ELSE '{}' END LOOP
            EXIT WHEN gone >= max_rows;
            gone := gone + chain.remove_orphans(format('event.%I', table_name)::regclass, 'block_number', 'true',
                                                kept.finalized_number, max_rows - gone);
        END LOOP;
        EXIT WHEN gone >= max_rows;
        gone := gone + chain.remove_orphans('chain.log', 'block_number',
            format('chain_id = %s AND source_id = %s', wanted_chain, source.source_id),
            kept.finalized_number, max_rows - gone);
    END LOOP;
    IF gone = 0 AND NOT EXISTS (SELECT FROM chain.source s WHERE s.chain_id = wanted_chain AND s.evidence) THEN
        gone := chain.remove_orphans('chain.block', 'number', format('chain_id = %s', wanted_chain),
                                     kept.finalized_number, max_rows);
    END IF;
    UPDATE chain.pruned SET orphan_rows = orphan_rows + gone, at = clock_timestamp()
    WHERE chain_id = wanted_chain AND gone > 0;
    DELETE FROM chain.snapshot n WHERE n.chain_id = wanted_chain AND n.seq < (
        SELECT max(o.seq) FROM chain.snapshot o JOIN chain.pruned p USING (chain_id)
        WHERE o.chain_id = wanted_chain AND o.seq <= p.feed_from);
    RETURN gone;
END $$;

CREATE TRIGGER begin_feed AFTER INSERT ON chain.cursor FOR EACH ROW EXECUTE FUNCTION chain.begin_feed();
CREATE TRIGGER guard BEFORE UPDATE ON chain.pruned FOR EACH ROW EXECUTE FUNCTION chain.guard_pruned();
CREATE TRIGGER oldest AFTER DELETE ON chain.feed REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION chain.guard_feed_removal();
CREATE TRIGGER kept BEFORE DELETE ON chain.block FOR EACH ROW EXECUTE FUNCTION chain.guard_orphan();
CREATE TRIGGER kept BEFORE DELETE ON chain.log FOR EACH ROW EXECUTE FUNCTION chain.guard_orphan();
CREATE TRIGGER kept BEFORE DELETE ON chain.pruned FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER guard BEFORE DELETE ON chain.snapshot FOR EACH ROW EXECUTE FUNCTION chain.guard_snapshot();
CREATE TRIGGER append_only BEFORE UPDATE ON chain.snapshot FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER guard_dropping BEFORE UPDATE OF dropped_at ON chain.source
    FOR EACH ROW EXECUTE FUNCTION chain.guard_dropping();

-- Both tables are written by the functions alone.
REVOKE INSERT, UPDATE ON chain.snapshot, chain.pruned FROM landbridge_daemon;
REVOKE EXECUTE ON FUNCTION chain.take_snapshot, chain.prune, chain.remove_orphans FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chain.take_snapshot, chain.prune TO landbridge_daemon;
