-- What the bank says. Every byte received is kept before it is acted on; an entry is written once and
-- never edited, so a correction is a new row. Names and account numbers of people stand in a table of
-- their own, apart from the money.

CREATE TABLE bank.account (
    account_id  text PRIMARY KEY CHECK (account_id <> ''),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    exponent    smallint NOT NULL CHECK (exponent BETWEEN 0 AND 18)
);

-- The highest sequence up to which the poll has read the account without a gap.
CREATE TABLE bank.poll_cursor (
    account_id  text PRIMARY KEY REFERENCES bank.account,
    sequence    bigint NOT NULL CHECK (sequence >= 0)
);

CREATE FUNCTION bank.guard_poll_cursor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.account_id <> old.account_id OR new.sequence < old.sequence THEN
        RAISE EXCEPTION 'poll cursor of %: it only goes forward', old.account_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER a_fenced BEFORE INSERT OR UPDATE ON bank.poll_cursor
    FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence('operate');
CREATE TRIGGER b_guard BEFORE UPDATE ON bank.poll_cursor
    FOR EACH ROW EXECUTE FUNCTION bank.guard_poll_cursor();

CREATE TABLE bank.raw (
    raw_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel      text NOT NULL CHECK (channel IN ('webhook', 'poll', 'statement')),
    message_id   text NOT NULL CHECK (message_id <> '' AND length(message_id) <= 256),
    body         bytea NOT NULL CHECK (octet_length(body) <= 4194304),
    sha256       bytea NOT NULL GENERATED ALWAYS AS (sha256(body)) STORED,
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (channel, message_id)
);

-- A raw message has been acted on exactly when it has a row here; fault says why nothing could be read.
CREATE TABLE bank.processed (
    raw_id        bigint PRIMARY KEY REFERENCES bank.raw,
    fault         text CHECK (fault <> ''),
    processed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What was received and not acted on yet: to find it must not take the longer the more was received before.
CREATE TABLE bank.waiting (
    raw_id  bigint PRIMARY KEY REFERENCES bank.raw
);
REVOKE INSERT, UPDATE ON bank.waiting FROM landbridge_daemon;

CREATE FUNCTION bank.keep_waiting() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF tg_table_name = 'raw' THEN
        INSERT INTO bank.waiting (raw_id) VALUES (new.raw_id);
    ELSE
        DELETE FROM bank.waiting WHERE raw_id = new.raw_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER c_waits AFTER INSERT ON bank.raw FOR EACH ROW EXECUTE FUNCTION bank.keep_waiting();
CREATE TRIGGER c_waits_no_more AFTER INSERT ON bank.processed FOR EACH ROW EXECUTE FUNCTION bank.keep_waiting();

CREATE TABLE bank.entry (
    entry_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id     text NOT NULL REFERENCES bank.account,
    entry_key      text NOT NULL CHECK (entry_key <> '' AND length(entry_key) <= 128),
    status         text NOT NULL CHECK (status IN ('pending', 'booked')),
    direction      text NOT NULL CHECK (direction IN ('credit', 'debit')),
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    sequence       bigint CHECK (sequence > 0),
    booked_at      timestamptz,
    end_to_end_id  text,
    reference      text,
    reverses_id    bigint REFERENCES bank.entry,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (account_id, entry_key, status),
    CHECK (status = 'pending' OR booked_at IS NOT NULL)
);
CREATE UNIQUE INDEX entry_sequence ON bank.entry (account_id, sequence)
    WHERE status = 'booked' AND sequence IS NOT NULL;
CREATE INDEX entry_end_to_end_id ON bank.entry (end_to_end_id) WHERE end_to_end_id IS NOT NULL;

CREATE TABLE bank.entry_party (
    entry_id  bigint PRIMARY KEY REFERENCES bank.entry,
    name      text,
    iban      text
);

-- One row each time a channel showed an entry; entry_id is null where it could not become one. A sequence
-- says that this place in the account's numbering has been read; the poll cursor ends before the first gap.
CREATE TABLE bank.observation (
    observation_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    raw_id          bigint NOT NULL REFERENCES bank.raw,
    account_id      text NOT NULL,
    entry_key       text NOT NULL,
    sequence        bigint CHECK (sequence > 0),
    entry_id        bigint REFERENCES bank.entry,
    fault           text CHECK (fault <> ''),
    CHECK ((entry_id IS NULL) = (fault IS NOT NULL))
);
CREATE INDEX observation_entry ON bank.observation (entry_id);
CREATE INDEX observation_sequence ON bank.observation (account_id, sequence);

DO $$
DECLARE
    history text;
BEGIN
    FOREACH history IN ARRAY ARRAY['raw', 'processed', 'entry', 'entry_party', 'observation'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON bank.%I
                        FOR EACH ROW EXECUTE FUNCTION ops.refuse_change()', history);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON bank.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()', history);
    END LOOP;
    -- bank.raw is written by the receiving side, which any daemon may run; acting on it needs the lease.
    FOREACH history IN ARRAY ARRAY['processed', 'entry', 'entry_party', 'observation'] LOOP
        EXECUTE format('CREATE TRIGGER fenced BEFORE INSERT ON bank.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence(''operate'')', history);
    END LOOP;
END $$;
