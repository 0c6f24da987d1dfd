-- What the auditor found when it read final blocks again and compared them with the tables. Written under the
-- fence of role 'audit:<chain id>', which is not the writer's: whoever reads again need not be who wrote. A
-- row is a finding and stays; that a difference is known and being dealt with is said in a row of its own.

CREATE TABLE chain.audit (
    audit_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id      bigint NOT NULL REFERENCES chain.cursor,
    source_id     bigint NOT NULL REFERENCES chain.source,
    kind          text NOT NULL CHECK (kind IN ('random', 'sweep')),
    from_block    bigint NOT NULL CHECK (from_block >= 0),
    to_block      bigint NOT NULL,
    final_block   bigint NOT NULL CHECK (final_block >= to_block),
    outcome       text NOT NULL CHECK (outcome IN ('exact', 'differs', 'unconfirmed', 'unanswerable')),
    provider      text NOT NULL CHECK (provider <> ''),
    verify        text NOT NULL CHECK (verify IN ('none', 'bloom', 'full')),
    confirmed_by  text CHECK (confirmed_by <> ''),
    row_count     bigint NOT NULL CHECK (row_count >= 0),
    differences   bigint NOT NULL CHECK (differences >= 0),
    detail        jsonb CHECK (octet_length(detail::text) <= 262144),
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (to_block >= from_block),
    CHECK ((outcome = 'exact') = (detail IS NULL)),
    CHECK (outcome = 'unanswerable' OR (outcome = 'exact') = (differences = 0)),
    CHECK ((outcome IN ('differs', 'unconfirmed')) <= (confirmed_by IS NOT NULL))
);
CREATE INDEX audit_swept ON chain.audit (source_id, audit_id) WHERE kind = 'sweep';
CREATE INDEX audit_differs ON chain.audit (chain_id, audit_id) WHERE outcome = 'differs';
COMMENT ON COLUMN chain.audit.kind IS 'random: the range was drawn; sweep: it is the next in the order of blocks';
COMMENT ON COLUMN chain.audit.final_block IS 'the newest final block when the range was chosen: a sweep that has come so far begins anew';
COMMENT ON COLUMN chain.audit.outcome IS 'exact: the tables have what the chain has; differs: two readings say that they have not; unconfirmed: one said so and the second did not; unanswerable: the chain could not be read, or a difference not be confirmed';
COMMENT ON COLUMN chain.audit.provider IS 'who was asked';
COMMENT ON COLUMN chain.audit.confirmed_by IS 'who was asked the second time, after a difference';
COMMENT ON COLUMN chain.audit.row_count IS 'rows of the chain that were compared';
COMMENT ON COLUMN chain.audit.differences IS 'rows missing, extra or different, by the first reading';
COMMENT ON COLUMN chain.audit.detail IS 'both readings, with some of the rows that differ';

CREATE TABLE chain.audit_acknowledgement (
    audit_id         bigint PRIMARY KEY REFERENCES chain.audit,
    acknowledged_by  text NOT NULL CHECK (acknowledged_by <> ''),
    reason           text NOT NULL CHECK (reason <> ''),
    at               timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE chain.audit_acknowledgement IS 'differences that somebody has taken note of: they are no longer shown as open';

-- Only what is final and covered can be audited: anything else may still change.
CREATE FUNCTION chain.guard_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    source chain.source;
    final  bigint := (SELECT finalized_number FROM chain.cursor WHERE chain_id = new.chain_id);
BEGIN
    IF coalesce(current_setting('landbridge.fence', true), '') <> 'audit:' || new.chain_id THEN
        RAISE EXCEPTION 'writing audits of chain % needs the fence of role audit:%', new.chain_id, new.chain_id
            USING ERRCODE = 'LB001';
    END IF;
    SELECT * INTO source FROM chain.source s WHERE s.source_id = new.source_id;
    IF source.chain_id <> new.chain_id OR source.joined_seq IS NULL OR new.from_block < source.start_block
            OR final IS NULL OR new.to_block > final THEN
        RAISE EXCEPTION 'audit of blocks % to % of source % refused: it begins at %, joined at seq %, final is %',
            new.from_block, new.to_block, new.source_id, source.start_block, source.joined_seq, final
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE FUNCTION chain.guard_acknowledgement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM chain.audit a WHERE a.audit_id = new.audit_id AND a.outcome = 'differs') THEN
        RAISE EXCEPTION 'audit % found no difference that could be acknowledged', new.audit_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER guard BEFORE INSERT ON chain.audit FOR EACH ROW EXECUTE FUNCTION chain.guard_audit();
CREATE TRIGGER guard BEFORE INSERT ON chain.audit_acknowledgement
    FOR EACH ROW EXECUTE FUNCTION chain.guard_acknowledgement();

DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['audit', 'audit_acknowledgement'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON chain.%I '
            'FOR EACH ROW EXECUTE FUNCTION ops.refuse_change()', kept);
        EXECUTE format('CREATE TRIGGER not_truncated BEFORE TRUNCATE ON chain.%I '
            'FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()', kept);
    END LOOP;
END $$;
