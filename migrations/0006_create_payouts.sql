-- Money out. A payment order can exist only for a final redemption request, equal to it in amount and
-- currency, to the registered payee of the holder; a refund can begin only once every attempt to pay
-- has been refused for good. Both sides lock the operation row, so they cannot pass each other.

CREATE TABLE bank.payout (
    op_id         bytea PRIMARY KEY REFERENCES bridge.operation (op_id),
    account_id    text NOT NULL REFERENCES bank.account,
    amount_minor  bigint NOT NULL CHECK (amount_minor > 0),
    currency      text NOT NULL,
    beneficiary_id bigint NOT NULL REFERENCES bridge.beneficiary,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The payee as agreed when the order was journalled: a later change of the register redirects nothing.
CREATE TABLE bank.payout_party (
    op_id  bytea PRIMARY KEY REFERENCES bank.payout,
    name   text NOT NULL,
    iban   text NOT NULL
);

CREATE TABLE bank.payout_attempt (
    op_id          bytea NOT NULL REFERENCES bank.payout,
    attempt        smallint NOT NULL CHECK (attempt > 0),
    end_to_end_id  text NOT NULL UNIQUE CHECK (end_to_end_id ~ '^[A-Z2-7]{32}$'),
    state          text NOT NULL CHECK (state IN ('prepared', 'sent', 'accepted', 'unknown', 'booked', 'rejected')),
    reason         text,
    entry_id       bigint UNIQUE REFERENCES bank.entry,  -- the debit that booked it
    expires_at     timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (op_id, attempt),
    CHECK ((state = 'booked') = (entry_id IS NOT NULL))
);
CREATE UNIQUE INDEX payout_attempt_live ON bank.payout_attempt (op_id) WHERE state <> 'rejected';

CREATE FUNCTION bank.guard_payout_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    op       bridge.operation;
    order_   bank.payout;
    token    bridge.token;
    payee    bridge.beneficiary;
    party    bank.payout_party;
    request  record;
    ended    boolean;
BEGIN
    SELECT * INTO op FROM bridge.operation WHERE op_id = new.op_id FOR UPDATE;
    IF tg_op = 'UPDATE' THEN
        IF (old.op_id, old.attempt, old.end_to_end_id, old.expires_at)
           IS DISTINCT FROM (new.op_id, new.attempt, new.end_to_end_id, new.expires_at)
           OR old.state IN ('booked', 'rejected') AND (old.state, old.entry_id) IS DISTINCT FROM (new.state, new.entry_id)
           OR old.state <> 'prepared' AND new.state = 'prepared' THEN
            RAISE EXCEPTION 'payout attempt % is journalled: only its state moves on', old.end_to_end_id
                USING ERRCODE = 'LB004';
        END IF;
        new.updated_at := clock_timestamp();
    END IF;
    SELECT * INTO token FROM bridge.token t WHERE t.chain_id = op.chain_id AND t.address = op.token;
    EXECUTE format('SELECT EXISTS (SELECT FROM event.%I WHERE id = $1 AND canonical)
                        OR EXISTS (SELECT FROM event.%I WHERE id = $1 AND canonical)',
                   token.contract_name || '_redeem_settled', token.contract_name || '_redeem_rejected')
        INTO ended USING op.redemption_id;
    -- Asked twice: when the order is journalled, and again at the last moment before the bank hears of it.
    IF ended AND (tg_op = 'INSERT' OR old.state = 'prepared' AND new.state = 'sent') THEN
        RAISE EXCEPTION 'payout refused: the contract has ended the redemption of operation % already',
            op.operation_id USING ERRCODE = 'LB004';
    ELSIF tg_op = 'UPDATE' THEN
        RETURN new;
    END IF;
    SELECT * INTO order_ FROM bank.payout WHERE op_id = new.op_id;
    SELECT * INTO party FROM bank.payout_party p WHERE p.op_id = new.op_id;
    SELECT * INTO payee FROM bridge.beneficiary b WHERE b.beneficiary_id = order_.beneficiary_id;
    EXECUTE format('SELECT r.holder, r.amount FROM event.%I r JOIN chain.cursor c ON c.chain_id = $1
                    WHERE r.id = $2 AND r.canonical
                      AND r.block_number <= c.finalized_number', token.contract_name || '_redeem_requested')
        INTO request USING op.chain_id, op.redemption_id;
    IF new.state <> 'prepared' OR op.kind <> 'redemption' OR op.state <> 'approved' THEN
        RAISE EXCEPTION 'payout refused: operation % is a % in state %', op.operation_id, op.kind, op.state
            USING ERRCODE = 'LB004';
    ELSIF ops.is_halted('money') THEN
        RAISE EXCEPTION 'payout refused: money movement is halted' USING ERRCODE = 'LB003';
    ELSIF request.amount IS NULL THEN
        RAISE EXCEPTION 'payout refused: operation % has no final redemption request', op.operation_id
            USING ERRCODE = 'LB004';
    ELSIF request.amount <> order_.amount_minor OR op.amount_minor <> order_.amount_minor
          OR token.currency <> order_.currency OR op.currency <> order_.currency
          OR op.account_id <> order_.account_id OR token.account_id <> order_.account_id THEN
        RAISE EXCEPTION 'payout refused: it is not equal to the request of operation %', op.operation_id
            USING ERRCODE = 'LB004';
    ELSIF payee.wallet IS DISTINCT FROM request.holder OR payee.wallet <> op.wallet
          OR (payee.name, payee.iban) IS DISTINCT FROM (party.name, party.iban)
          OR clock_timestamp() < payee.valid_from OR clock_timestamp() >= coalesce(payee.valid_to, 'infinity') THEN
        RAISE EXCEPTION 'payout refused: its payee is not the registered one of the holder of operation %',
            op.operation_id USING ERRCODE = 'LB004';
    END IF;
    RETURN new;
END $$;

CREATE FUNCTION bridge.guard_rejection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM bank.payout_attempt a WHERE a.op_id = new.op_id AND a.state <> 'rejected') THEN
        RAISE EXCEPTION 'operation %: no refund while a payment may still arrive', new.operation_id
            USING ERRCODE = 'LB004';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON bank.payout_attempt
    FOR EACH ROW EXECUTE FUNCTION bank.guard_payout_attempt();
CREATE TRIGGER b_guard_rejection BEFORE UPDATE ON bridge.operation
    FOR EACH ROW WHEN (new.state = 'rejecting' AND old.state <> 'rejecting') EXECUTE FUNCTION bridge.guard_rejection();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON bank.payout
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON bank.payout_party
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

DO $$
DECLARE
    journal text;
BEGIN
    FOREACH journal IN ARRAY ARRAY['payout', 'payout_party', 'payout_attempt'] LOOP
        EXECUTE format('CREATE TRIGGER a_fenced BEFORE INSERT OR UPDATE ON bank.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence(''operate'')', journal);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON bank.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()', journal);
    END LOOP;
END $$;
CREATE TRIGGER no_delete BEFORE DELETE ON bank.payout_attempt
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
