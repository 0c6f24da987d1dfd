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

-- scope 'money' stops signing, payouts and refunds; scope 'mint' closes the mint gate only.
CREATE TABLE ops.halt (
    halt_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope      text NOT NULL CHECK (scope IN ('money', 'mint')),
    reason     text NOT NULL CHECK (reason <> ''),
    opened_by  text NOT NULL CHECK (opened_by <> ''),
    opened_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_by  text CHECK (closed_by <> ''),
    closed_at  timestamptz,
    CHECK ((closed_by IS NULL) = (closed_at IS NULL))
);
CREATE UNIQUE INDEX halt_open ON ops.halt (scope, reason) WHERE closed_at IS NULL;

CREATE FUNCTION ops.guard_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.role <> old.role OR new.epoch NOT IN (old.epoch, old.epoch + 1) THEN
        RAISE EXCEPTION 'lease %: its epoch only rises, one by one', old.role
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE FUNCTION ops.guard_halt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.closed_at IS NOT NULL OR (old.scope, old.reason, old.opened_by, old.opened_at)
       IS DISTINCT FROM (new.scope, new.reason, new.opened_by, new.opened_at) THEN
        RAISE EXCEPTION 'halt % may only be closed, once', old.halt_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER b_guard BEFORE UPDATE ON ops.lease FOR EACH ROW EXECUTE FUNCTION ops.guard_lease();
CREATE TRIGGER b_guard BEFORE UPDATE ON ops.halt FOR EACH ROW EXECUTE FUNCTION ops.guard_halt();

CREATE FUNCTION ops.is_halted(wanted_scope text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM ops.halt
                   WHERE closed_at IS NULL AND (scope = 'money' OR scope = wanted_scope))
$$;
