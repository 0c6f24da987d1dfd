-- Who may write, and whether money may move. A lease carries an epoch; every transaction that must not
-- be made by a daemon that has lost its lease opens with ops.fence, which holds the lease row FOR SHARE
-- until the commit, so a takeover (an UPDATE of that row) waits for it or makes it fail.

CREATE TABLE ops.lease (
    role        text PRIMARY KEY CHECK (role <> ''),
    epoch       bigint NOT NULL CHECK (epoch > 0),
    holder      text NOT NULL,
    expires_at  timestamptz NOT NULL
);

CREATE FUNCTION ops.fence(wanted_role text, wanted_epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    current_epoch bigint;
BEGIN
    SELECT epoch INTO current_epoch FROM ops.lease WHERE role = wanted_role FOR SHARE;
    IF current_epoch IS DISTINCT FROM wanted_epoch THEN
        RAISE EXCEPTION 'lease % is at epoch %, not %: another daemon holds it',
            wanted_role, coalesce(current_epoch::text, 'none'), wanted_epoch USING ERRCODE = 'LB001';
    END IF;
    PERFORM set_config('landbridge.fence', wanted_role, true);
END $$;

-- A table guarded by this trigger can be written only inside a fenced transaction of the named role.
CREATE FUNCTION ops.require_fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (coalesce(current_setting('landbridge.fence', true), '') = ANY (tg_argv)) THEN
        RAISE EXCEPTION 'writing %.% needs the fence of role %', tg_table_schema, tg_table_name,
            array_to_string(tg_argv, ' or ') USING ERRCODE = 'LB001';
    END IF;
    RETURN CASE tg_op WHEN 'DELETE' THEN old ELSE new END;
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

CREATE FUNCTION ops.is_halted(wanted_scope text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM ops.halt
                   WHERE closed_at IS NULL AND (scope = 'money' OR scope = wanted_scope))
$$;
