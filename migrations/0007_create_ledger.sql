-- Double entry. Assets are positive, liabilities negative, and every transfer sums to zero in each
-- currency: checked here, not by whoever writes. A hold is a pending transfer, resolved at
-- most once, by a post or a void. History cannot be edited.

CREATE TABLE ledger.account (
    code      text PRIMARY KEY CHECK (code <> ''),
    currency  text NOT NULL CHECK (currency ~ '^[A-Z]{3}$')
);

CREATE TABLE ledger.transfer (
    transfer_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key           text NOT NULL UNIQUE,  -- what happened, once: 'deposit:17', 'mint:4'
    phase         text NOT NULL CHECK (phase IN ('pending', 'post', 'void')),
    resolves_id   bigint UNIQUE REFERENCES ledger.transfer,
    operation_id  bigint REFERENCES bridge.operation,
    entry_id      bigint REFERENCES bank.entry,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (phase <> 'pending' OR resolves_id IS NULL),
    CHECK (phase <> 'void' OR resolves_id IS NOT NULL)
);

CREATE TABLE ledger.posting (
    transfer_id   bigint NOT NULL REFERENCES ledger.transfer,
    account       text NOT NULL REFERENCES ledger.account,
    amount_minor  bigint NOT NULL CHECK (amount_minor <> 0),
    PRIMARY KEY (transfer_id, account)
);
CREATE INDEX posting_account ON ledger.posting (account);

-- All lines of a transfer are written by one statement; nothing is ever changed or removed, so it stays balanced.
CREATE FUNCTION ledger.check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unbalanced bigint;
BEGIN
    SELECT w.transfer_id INTO unbalanced FROM written w JOIN ledger.account a ON a.code = w.account
    GROUP BY w.transfer_id, a.currency HAVING sum(w.amount_minor) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'transfer % does not sum to zero', unbalanced
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION ledger.check_resolution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.resolves_id IS NOT NULL AND
       (SELECT phase FROM ledger.transfer WHERE transfer_id = new.resolves_id) <> 'pending' THEN
        RAISE EXCEPTION 'transfer % resolves a transfer that is not pending', new.transfer_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER balanced AFTER INSERT ON ledger.posting REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_balanced();
CREATE TRIGGER b_resolution BEFORE INSERT ON ledger.transfer
    FOR EACH ROW EXECUTE FUNCTION ledger.check_resolution();

DO $$
DECLARE
    history text;
BEGIN
    FOREACH history IN ARRAY ARRAY['account', 'transfer', 'posting'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.%I
                        FOR EACH ROW EXECUTE FUNCTION ops.refuse_change()', history);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()', history);
        EXECUTE format('CREATE TRIGGER a_fenced BEFORE INSERT ON ledger.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence(''operate'')', history);
    END LOOP;
END $$;

-- What is posted in each account: to sum a history up takes the longer the longer it is. Each statement adds its
-- changes, so that nobody waits for anybody, and now and then they are folded into the base.
CREATE TABLE ledger.balance_base (
    code          text PRIMARY KEY REFERENCES ledger.account,
    amount_minor  bigint NOT NULL
);
CREATE TABLE ledger.balance_change (
    change_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code          text NOT NULL,
    amount_minor  bigint NOT NULL
);
REVOKE INSERT, UPDATE ON ledger.balance_base, ledger.balance_change FROM landbridge_daemon;

CREATE VIEW ledger.balance AS
    SELECT b.code, (b.amount_minor + coalesce((SELECT sum(c.amount_minor) FROM ledger.balance_change c
                                               WHERE c.code = b.code), 0))::bigint AS amount_minor
    FROM ledger.balance_base b;

CREATE FUNCTION ledger.open_balance() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO ledger.balance_base (code, amount_minor) VALUES (new.code, 0);
    RETURN NULL;
END $$;

CREATE FUNCTION ledger.keep_balances() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO ledger.balance_change (code, amount_minor)
    SELECT w.account, sum(w.amount_minor) FROM written w JOIN ledger.transfer t USING (transfer_id)
    WHERE t.phase = 'post' GROUP BY w.account;
    RETURN NULL;
END $$;

-- In one statement, so that whoever reads sees the changes either in their table or in the base.
CREATE FUNCTION ledger.fold_balances() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH folded AS (DELETE FROM ledger.balance_change RETURNING code, amount_minor)
    UPDATE ledger.balance_base b SET amount_minor = b.amount_minor + f.amount_minor
    FROM (SELECT code, sum(amount_minor)::bigint AS amount_minor FROM folded GROUP BY code) AS f WHERE b.code = f.code
$$;
REVOKE EXECUTE ON FUNCTION ledger.fold_balances() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.fold_balances() TO landbridge_daemon;

CREATE TRIGGER b_balance AFTER INSERT ON ledger.account
    FOR EACH ROW EXECUTE FUNCTION ledger.open_balance();
CREATE TRIGGER c_balances AFTER INSERT ON ledger.posting REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.keep_balances();

-- The same from the history alone, for whoever audits it.
CREATE VIEW ledger.recount AS
    SELECT a.code, coalesce(sum(p.amount_minor) FILTER (WHERE t.phase = 'post'), 0)::bigint AS amount_minor
    FROM ledger.account a
    LEFT JOIN ledger.posting p ON p.account = a.code
    LEFT JOIN ledger.transfer t USING (transfer_id)
    GROUP BY a.code;
