-- Who may write, and whether money may move. A lease carries an epoch; every transaction that must not
-- be made by a daemon that has lost its lease opens with ops.fence, which holds the lease's row FOR KEY
-- SHARE until the commit. A takeover changes the epoch, which is part of a key, so it waits for such
-- transactions or makes them fail; a renewal changes no key, so it waits for nobody. A lease that has
-- run out lets no new transaction in, so whoever works on without renewing cannot keep its taker out.

CREATE TABLE ops.lease (
    role        text PRIMARY KEY CHECK (role <> ''),
    epoch       bigint NOT NULL CHECK (epoch > 0),
    holder      text NOT NULL,
    presence    bigint,
    expires_at  timestamptz NOT NULL,
    UNIQUE (role, epoch)
);
COMMENT ON COLUMN ops.lease.presence IS 'the advisory lock that the holder''s session keeps: with nobody keeping it, the holder is gone and the lease is free';

CREATE FUNCTION ops.fence(wanted_role text, wanted_epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    current_epoch bigint;
    is_running    boolean;
BEGIN
    SELECT epoch, expires_at > clock_timestamp() INTO current_epoch, is_running
    FROM ops.lease WHERE role = wanted_role FOR KEY SHARE;
    IF current_epoch IS DISTINCT FROM wanted_epoch THEN
        RAISE EXCEPTION 'lease % is at epoch %, not %: another daemon holds it',
            wanted_role, coalesce(current_epoch::text, 'none'), wanted_epoch USING ERRCODE = 'LB001';
    ELSIF NOT is_running THEN
        RAISE EXCEPTION 'lease % has run out and was not renewed', wanted_role USING ERRCODE = 'LB001';
    END IF;
    PERFORM set_config('landbridge.fence', wanted_role, true);
END $$;

-- A table guarded by this trigger can be written only inside a fenced transaction of the named role.
CREATE FUNCTION ops.require_fence() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fence text := coalesce(current_setting('landbridge.fence', true), '');
BEGIN
    -- 'submit' stands for every role 'submit:…'.
    IF NOT (fence = ANY (tg_argv) OR split_part(fence, ':', 1) = ANY (tg_argv)) THEN
        RAISE EXCEPTION 'writing %.% needs the fence of role %', tg_table_schema, tg_table_name,
            array_to_string(tg_argv, ' or ') USING ERRCODE = 'LB001';
    END IF;
    RETURN NULL;
END $$;

-- Which server and database this is: a restore, a failover and a copy make another one, of which nobody knows how much
-- it has lost. The newest row is the one that was accepted.
CREATE TABLE ops.database_identity (
    identity_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    system_identifier  bigint NOT NULL,
    timeline_id        integer NOT NULL,
    database_oid       oid NOT NULL,
    recorded_by        text NOT NULL CHECK (recorded_by <> ''),
    recorded_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The timeline is that of the log as it is written now: the control file tells it only after the next checkpoint.
CREATE FUNCTION ops.live_identity(OUT system_identifier bigint, OUT timeline_id integer, OUT database_oid oid)
LANGUAGE sql STABLE AS $$
    SELECT s.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer, d.oid
    FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()
$$;

CREATE FUNCTION ops.is_known_database() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT (i.system_identifier, i.timeline_id, i.database_oid)
             = (l.system_identifier, l.timeline_id, l.database_oid)
        FROM ops.database_identity i, ops.live_identity() l ORDER BY i.identity_id DESC LIMIT 1), true)
$$;

-- What one person proposes to lift, and what was shown of it. It is named by the hash of its content, so whoever
-- approves it approves just that.
CREATE TABLE ops.resume_proposal (
    proposal     bytea PRIMARY KEY CHECK (proposal = sha256(convert_to(content, 'UTF8'))),
    content      text NOT NULL CHECK (jsonb_typeof(content::jsonb -> 'halts') = 'array'),
    proposed_by  text NOT NULL CHECK (proposed_by <> ''),
    proposed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- scope 'money' stops signing, payouts and refunds; scope 'mint' closes the mint gate only.
CREATE TABLE ops.halt (
    halt_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope       text NOT NULL CHECK (scope IN ('money', 'mint')),
    reason      text NOT NULL CHECK (reason <> ''),
    state_loss  boolean NOT NULL DEFAULT false,
    opened_by   text NOT NULL CHECK (opened_by <> ''),
    opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    proposal    bytea REFERENCES ops.resume_proposal,
    closed_by   text CHECK (closed_by <> ''),
    closed_at   timestamptz,
    CHECK (num_nulls(proposal, closed_by, closed_at) IN (0, 3)),
    CHECK (NOT state_loss OR scope = 'money')
);
CREATE UNIQUE INDEX halt_open ON ops.halt (scope, reason) WHERE closed_at IS NULL;
COMMENT ON COLUMN ops.halt.state_loss IS 'this database is older than the world: it is lifted after a rescan only';

CREATE FUNCTION ops.guard_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.role <> old.role OR new.epoch NOT IN (old.epoch, old.epoch + 1) THEN
        RAISE EXCEPTION 'lease %: its epoch only rises, one by one', old.role
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- One person proposes to lift a halt, and another one lifts it.
CREATE FUNCTION ops.guard_halt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    proposed ops.resume_proposal;
BEGIN
    IF tg_op = 'INSERT' THEN
        IF new.closed_at IS NOT NULL THEN
            RAISE EXCEPTION 'a halt begins open' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN new;
    ELSIF old.closed_at IS NOT NULL OR (old.scope, old.reason, old.state_loss, old.opened_by, old.opened_at)
       IS DISTINCT FROM (new.scope, new.reason, new.state_loss, new.opened_by, new.opened_at) THEN
        RAISE EXCEPTION 'halt % may only be closed, once', old.halt_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT * INTO proposed FROM ops.resume_proposal p WHERE p.proposal = new.proposal;
    IF new.closed_at IS NULL THEN
        RETURN new;
    ELSIF proposed.proposal IS NULL OR NOT proposed.content::jsonb -> 'halts' @> to_jsonb(new.halt_id) THEN
        RAISE EXCEPTION 'halt % is lifted by a proposal that names it', new.halt_id USING ERRCODE = 'LB006';
    ELSIF lower(btrim(proposed.proposed_by)) = lower(btrim(new.closed_by)) THEN
        RAISE EXCEPTION 'halt % needs a second person: % proposed to lift it', new.halt_id, proposed.proposed_by
            USING ERRCODE = 'LB006';
    ELSIF proposed.proposed_at < clock_timestamp() - interval '1 hour' THEN
        RAISE EXCEPTION 'the proposal to lift halt % is more than an hour old: propose again', new.halt_id
            USING ERRCODE = 'LB006';
    ELSIF new.state_loss AND NOT ops.is_known_database() THEN
        RAISE EXCEPTION 'halt % is lifted after a rescan, which records the database as it is now', new.halt_id
            USING ERRCODE = 'LB006';
    END IF;
    RETURN new;
END $$;

-- Whether this database is known to be older than the world.
CREATE FUNCTION ops.is_state_lost() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM ops.halt WHERE state_loss AND closed_at IS NULL)
$$;

-- Only what is so can be recorded; the first time freely, and then while a loss is being dealt with.
CREATE FUNCTION ops.guard_identity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT * INTO new.system_identifier, new.timeline_id, new.database_oid FROM ops.live_identity();
    IF EXISTS (SELECT FROM ops.database_identity) AND NOT ops.is_state_lost() THEN
        RAISE EXCEPTION 'another server is accepted only where a state loss has halted money'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER b_guard BEFORE UPDATE ON ops.lease FOR EACH ROW EXECUTE FUNCTION ops.guard_lease();
CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON ops.halt FOR EACH ROW EXECUTE FUNCTION ops.guard_halt();
CREATE TRIGGER b_guard BEFORE INSERT ON ops.database_identity
    FOR EACH ROW EXECUTE FUNCTION ops.guard_identity();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ops.database_identity
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ops.resume_proposal
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

-- A database that is not the one that was accepted moves no money, whether anybody has noticed yet or not.
CREATE FUNCTION ops.is_halted(wanted_scope text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM ops.halt
                   WHERE closed_at IS NULL AND (scope = 'money' OR scope = wanted_scope))
           OR NOT ops.is_known_database()
$$;
