-- Operations and the transactions that carry them out. Postgres itself refuses an illegal transition,
-- a second live transaction for one operation, a nonce out of order, and a journal row that changes
-- after it was written. bridge.transition_allowed repeats bridge/operations.py; a test compares them.

CREATE TABLE bridge.token (
    chain_id       bigint NOT NULL CHECK (chain_id > 0),
    address        bytea NOT NULL CHECK (octet_length(address) = 20),
    contract_name  text NOT NULL CHECK (contract_name ~ '^[a-z][a-z0-9_]*$'),
    account_id     text NOT NULL REFERENCES bank.account,
    currency       text NOT NULL,
    decimals       smallint NOT NULL,
    kind           text NOT NULL DEFAULT 'deposit' CHECK (kind IN ('deposit', 'plain')),
    PRIMARY KEY (chain_id, address)
);
COMMENT ON COLUMN bridge.token.kind IS 'plain: it mints amounts and knows no operations, so a nonce stands for one operation';

-- The bridge, and the payout guard with it, read the tables of the first version by their names.
CREATE FUNCTION bridge.guard_token_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM bridge.token t WHERE t.contract_name = new.name) THEN
        RAISE EXCEPTION 'the bridge reads the first version of contract %, which takes no other one', new.name
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER token_version BEFORE INSERT ON chain.source
    FOR EACH ROW WHEN (new.version > 1) EXECUTE FUNCTION bridge.guard_token_version();

-- A version that has ended is followed no more, and cannot be taken up again: the bridge would be blind.
CREATE FUNCTION bridge.guard_token_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM bridge.token t WHERE t.contract_name = old.name) THEN
        RAISE EXCEPTION 'the bridge reads contract %, which is followed as long as there is a bridge', old.name
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER token_end BEFORE UPDATE OF wanted, retired_seq ON chain.source FOR EACH ROW
    WHEN (old.wanted AND NOT new.wanted OR old.retired_seq IS NULL AND new.retired_seq IS NOT NULL)
    EXECUTE FUNCTION bridge.guard_token_end();

CREATE TABLE bridge.beneficiary (
    beneficiary_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wallet          bytea NOT NULL CHECK (octet_length(wallet) = 20),
    iban            text NOT NULL CHECK (iban ~ '^[A-Z0-9]{5,34}$'),
    name            text NOT NULL CHECK (name <> ''),
    proof           text NOT NULL CHECK (proof <> ''),
    proposed_by     text NOT NULL CHECK (proposed_by <> ''),
    approved_by     text NOT NULL CHECK (approved_by <> ''),
    valid_from      timestamptz NOT NULL DEFAULT clock_timestamp(),
    valid_to        timestamptz,
    CHECK (proposed_by <> approved_by),
    CHECK (valid_to IS NULL OR valid_to > valid_from)
);
CREATE UNIQUE INDEX beneficiary_wallet ON bridge.beneficiary (wallet) WHERE valid_to IS NULL;
CREATE UNIQUE INDEX beneficiary_iban ON bridge.beneficiary (iban) WHERE valid_to IS NULL;

-- What two people agreed on is never edited: an entry of the register can only be ended, once.
CREATE FUNCTION bridge.guard_beneficiary() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        IF EXISTS (SELECT FROM bridge.beneficiary b WHERE (b.wallet = new.wallet OR b.iban = new.iban)
                   AND coalesce(b.valid_to, 'infinity') > new.valid_from) THEN
            RAISE EXCEPTION 'this wallet or account has a beneficiary whose time is not over'
                USING ERRCODE = 'unique_violation';
        END IF;
        RETURN new;
    END IF;
    IF old.valid_to IS NOT NULL OR to_jsonb(old) - 'valid_to' IS DISTINCT FROM to_jsonb(new) - 'valid_to' THEN
        RAISE EXCEPTION 'beneficiary % may only be ended, once: register a new one', old.beneficiary_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON bridge.beneficiary
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_beneficiary();
CREATE TRIGGER no_delete BEFORE DELETE ON bridge.beneficiary
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

CREATE TABLE bridge.transition_allowed (
    kind        text NOT NULL,
    from_state  text NOT NULL,  -- '' is birth
    to_state    text NOT NULL,
    PRIMARY KEY (kind, from_state, to_state)
);
INSERT INTO bridge.transition_allowed (kind, from_state, to_state) VALUES
    ('issuance', '', 'requested'),
    ('issuance', '', 'funded'),
    ('issuance', 'requested', 'awaiting_funds'),
    ('issuance', 'awaiting_funds', 'funded'),
    ('issuance', 'awaiting_funds', 'expired'),
    ('issuance', 'funded', 'approved'),
    ('issuance', 'funded', 'held'),
    ('issuance', 'approved', 'reserved'),
    ('issuance', 'approved', 'held'),
    ('issuance', 'approved', 'voiding'),
    ('issuance', 'approved', 'returning'),
    ('issuance', 'held', 'approved'),
    ('issuance', 'held', 'returning'),
    ('issuance', 'held', 'voiding'),
    ('issuance', 'reserved', 'signed'),
    ('issuance', 'reserved', 'held'),
    ('issuance', 'reserved', 'approved'),
    ('issuance', 'reserved', 'mined'),
    ('issuance', 'reserved', 'voiding'),
    ('issuance', 'reserved', 'returning'),
    ('issuance', 'signed', 'submitted'),
    ('issuance', 'signed', 'mined'),
    ('issuance', 'signed', 'approved'),
    ('issuance', 'submitted', 'mined'),
    ('issuance', 'submitted', 'approved'),
    ('issuance', 'mined', 'submitted'),
    ('issuance', 'mined', 'final'),
    ('issuance', 'final', 'settled'),
    ('issuance', 'voiding', 'returning'),
    ('issuance', 'returning', 'returned'),
    ('redemption', '', 'requested'),
    ('redemption', 'requested', 'request_final'),
    ('redemption', 'requested', 'dropped'),
    ('redemption', 'dropped', 'requested'),
    ('redemption', 'request_final', 'approved'),
    ('redemption', 'request_final', 'held'),
    ('redemption', 'approved', 'payout_prepared'),
    ('redemption', 'approved', 'held'),
    ('redemption', 'held', 'approved'),
    ('redemption', 'held', 'rejecting'),
    ('redemption', 'payout_prepared', 'sent'),
    ('redemption', 'payout_prepared', 'held'),
    ('redemption', 'sent', 'accepted'),
    ('redemption', 'sent', 'booked'),
    ('redemption', 'sent', 'payout_unknown'),
    ('redemption', 'sent', 'rejecting'),
    ('redemption', 'payout_unknown', 'sent'),
    ('redemption', 'payout_unknown', 'accepted'),
    ('redemption', 'payout_unknown', 'booked'),
    ('redemption', 'payout_unknown', 'rejecting'),
    ('redemption', 'accepted', 'booked'),
    ('redemption', 'accepted', 'rejecting'),
    ('redemption', 'booked', 'burning'),
    ('redemption', 'burning', 'booked'),
    ('redemption', 'burning', 'settled'),
    ('redemption', 'rejecting', 'refunded');
REVOKE INSERT, UPDATE ON bridge.transition_allowed FROM landbridge_daemon;

CREATE TABLE bridge.operation (
    operation_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    op_id              bytea UNIQUE CHECK (octet_length(op_id) = 32),
    kind               text NOT NULL CHECK (kind IN ('issuance', 'redemption')),
    state              text NOT NULL,
    version            integer NOT NULL DEFAULT 0,
    reason             text NOT NULL CHECK (reason <> ''),
    chain_id           bigint NOT NULL,
    token              bytea NOT NULL,
    account_id         text NOT NULL REFERENCES bank.account,
    currency           text NOT NULL,
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    wallet             bytea NOT NULL CHECK (octet_length(wallet) = 20),
    beneficiary_id     bigint REFERENCES bridge.beneficiary,
    entry_id           bigint REFERENCES bank.entry,
    redemption_id      bytea CHECK (octet_length(redemption_id) = 32),
    event_block_hash   bytea CHECK (octet_length(event_block_hash) = 32),
    event_block_number bigint,
    event_log_index    integer,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (chain_id, token) REFERENCES bridge.token,
    CHECK (op_id IS NOT NULL OR state IN ('requested', 'awaiting_funds', 'expired')),
    CHECK ((kind = 'redemption') = (redemption_id IS NOT NULL)),
    CHECK (kind = 'redemption' OR entry_id IS NOT NULL OR state IN ('requested', 'awaiting_funds', 'expired')),
    CHECK (state NOT IN ('mined', 'final', 'settled', 'requested') OR kind = 'issuance' AND state = 'requested'
           OR event_block_hash IS NOT NULL),
    CHECK ((event_block_hash IS NULL) = (event_block_number IS NULL)
           AND (event_block_hash IS NULL) = (event_log_index IS NULL))
);
CREATE UNIQUE INDEX operation_entry ON bridge.operation (entry_id) WHERE entry_id IS NOT NULL;
CREATE UNIQUE INDEX operation_redemption ON bridge.operation (redemption_id) WHERE redemption_id IS NOT NULL;
CREATE INDEX operation_work ON bridge.operation (kind, state, operation_id)
    WHERE state NOT IN ('settled', 'refunded', 'returned', 'expired');

-- Written by the triggers of bridge.operation alone, so that each row has its operation.
CREATE TABLE bridge.transition (
    operation_id  bigint NOT NULL,
    version       integer NOT NULL,
    from_state    text NOT NULL,
    to_state      text NOT NULL,
    reason        text NOT NULL,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operation_id, version)
);
REVOKE INSERT, UPDATE ON bridge.transition FROM landbridge_daemon;

-- That a mint shall not happen any more: one person asks for it, another one agrees.
CREATE TABLE bridge.cancellation (
    op_id        bytea PRIMARY KEY REFERENCES bridge.operation (op_id),
    reason       text NOT NULL CHECK (reason <> ''),
    proposed_by  text NOT NULL CHECK (proposed_by <> ''),
    proposed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    approved_by  text CHECK (approved_by <> '' AND approved_by <> proposed_by),
    approved_at  timestamptz,
    CHECK ((approved_by IS NULL) = (approved_at IS NULL))
);

CREATE FUNCTION bridge.guard_cancellation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        IF new.approved_by IS NOT NULL OR NOT EXISTS (
            SELECT FROM bridge.operation o WHERE o.op_id = new.op_id AND o.kind = 'issuance'
            AND o.state IN ('funded', 'approved', 'held', 'reserved', 'signed', 'submitted', 'mined')) THEN
            RAISE EXCEPTION 'only a mint that is not final can be cancelled, and two people do it one after the other'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    ELSIF old.approved_by IS NOT NULL OR (old.op_id, old.reason, old.proposed_by, old.proposed_at)
          IS DISTINCT FROM (new.op_id, new.reason, new.proposed_by, new.proposed_at) THEN
        RAISE EXCEPTION 'a cancellation may only be agreed to, once' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON bridge.cancellation
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_cancellation();
CREATE TRIGGER no_delete BEFORE DELETE ON bridge.cancellation
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

-- Money may go back once no mint can follow: nothing may carry the operation while its id is being consumed, and
-- the token's word that it was has to stand in a finalized block. For a plain token there is no id to consume, and
-- nothing that it would say: that nothing carries the operation has to be enough, unless something may be lost.
CREATE FUNCTION bridge.guard_cancelled(cancelled bridge.operation, previous text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    is_plain CONSTANT boolean := EXISTS (SELECT FROM bridge.token t WHERE t.chain_id = cancelled.chain_id
                                         AND t.address = cancelled.token AND t.kind = 'plain');
BEGIN
    IF previous <> 'voiding' AND (
        NOT EXISTS (SELECT FROM bridge.cancellation c WHERE c.op_id = cancelled.op_id AND c.approved_by IS NOT NULL)
        OR EXISTS (SELECT FROM bridge.tx_operation l WHERE l.op_id = cancelled.op_id AND NOT l.released)) THEN
        RAISE EXCEPTION 'operation %: two people have to cancel it, and no transaction may carry it',
            cancelled.operation_id USING ERRCODE = 'LB002';
    ELSIF cancelled.state = 'returning' AND is_plain AND bridge.may_have_lost_mints(cancelled.chain_id) THEN
        RAISE EXCEPTION 'operation %: a transaction that this database has lost may mint it', cancelled.operation_id
            USING ERRCODE = 'LB002';
    ELSIF cancelled.state = 'returning' AND NOT is_plain AND NOT EXISTS (
        SELECT FROM chain.log l JOIN chain.cursor c USING (chain_id)
        WHERE l.chain_id = cancelled.chain_id AND l.address = cancelled.token AND l.canonical
          AND l.block_number = cancelled.event_block_number AND l.block_hash = cancelled.event_block_hash
          AND l.log_index = cancelled.event_log_index AND l.block_number <= c.finalized_number
          -- OperationVoided(bytes32,address)
          AND l.topics[1] = '\xc7a33d0a96e7fa11005dcf0bf121901549099208d2a7c5828be607591b01cc7c'
          AND l.topics[2] = cancelled.op_id) THEN
        RAISE EXCEPTION 'operation % may still be minted: no finalized block has voided it', cancelled.operation_id
            USING ERRCODE = 'LB002';
    END IF;
END $$;

CREATE FUNCTION bridge.judge_transition() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    previous text := '';
BEGIN
    IF tg_op = 'UPDATE' THEN
        IF (old.kind, old.chain_id, old.token, old.account_id, old.currency, old.amount_minor, old.wallet)
           IS DISTINCT FROM
           (new.kind, new.chain_id, new.token, new.account_id, new.currency, new.amount_minor, new.wallet)
           OR old.op_id IS NOT NULL AND old.op_id IS DISTINCT FROM new.op_id
           OR old.entry_id IS NOT NULL AND old.entry_id IS DISTINCT FROM new.entry_id
           OR old.redemption_id IS DISTINCT FROM new.redemption_id THEN
            RAISE EXCEPTION 'operation %: its identity, amount and parties never change', old.operation_id
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        previous := old.state;
        IF old.state = new.state THEN
            RETURN new;
        END IF;
        new.version := old.version + 1;
        new.updated_at := clock_timestamp();
    ELSE
        new.version := 1;
    END IF;
    IF NOT EXISTS (SELECT FROM bridge.transition_allowed a
                   WHERE a.kind = new.kind AND a.from_state = previous AND a.to_state = new.state) THEN
        RAISE EXCEPTION 'operation %: % may not go from "%" to "%"',
            new.operation_id, new.kind, previous, new.state USING ERRCODE = 'LB002';
    END IF;
    IF new.state IN ('voiding', 'returning') THEN
        PERFORM bridge.guard_cancelled(new, previous);
    END IF;
    RETURN new;
END $$;

-- For all rows of a statement at once.
CREATE FUNCTION bridge.record_births() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO bridge.transition (operation_id, version, from_state, to_state, reason)
    SELECT operation_id, version, '', state, reason FROM born;
    RETURN NULL;
END $$;

-- Its plan is kept, whatever the number of rows: compared each with each they would be a million for a thousand.
CREATE FUNCTION bridge.record_transitions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO bridge.transition (operation_id, version, from_state, to_state, reason)
    SELECT a.operation_id, a.version, b.state, a.state, a.reason FROM after a JOIN before b USING (operation_id)
    WHERE a.state <> b.state;
    RETURN NULL;
END $$;

CREATE TRIGGER a_fenced BEFORE INSERT OR UPDATE ON bridge.operation
    FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence('operate', 'submit');
CREATE TRIGGER b_judge BEFORE INSERT OR UPDATE ON bridge.operation
    FOR EACH ROW EXECUTE FUNCTION bridge.judge_transition();
CREATE TRIGGER c_record_births AFTER INSERT ON bridge.operation REFERENCING NEW TABLE AS born
    FOR EACH STATEMENT EXECUTE FUNCTION bridge.record_births();
CREATE TRIGGER c_record AFTER UPDATE ON bridge.operation REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION bridge.record_transitions();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON bridge.transition
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON bridge.transition
    FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER no_delete BEFORE DELETE ON bridge.operation
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

-- A signer is a lane: its own lease, and its own nonces, which nobody else gives out.
CREATE TABLE bridge.signer (
    chain_id    bigint NOT NULL,
    address     bytea NOT NULL CHECK (octet_length(address) = 20),
    name        text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]*$'),
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'draining', 'retired')),
    next_nonce  bigint NOT NULL DEFAULT 0 CHECK (next_nonce >= 0),
    PRIMARY KEY (chain_id, address)
);
CREATE UNIQUE INDEX signer_name ON bridge.signer (chain_id, name) WHERE state <> 'retired';
COMMENT ON COLUMN bridge.signer.state IS 'draining: it takes no operation any more and sees through those that it has; retired: it has none';

-- What the chain said last of a signer's gas money, and how far it reaches; null is without end.
CREATE TABLE bridge.signer_balance (
    chain_id           bigint NOT NULL,
    address            bytea NOT NULL,
    balance_wei        numeric(78, 0) NOT NULL CHECK (balance_wei >= 0),
    at_stake_wei       numeric(78, 0) NOT NULL CHECK (at_stake_wei >= 0),
    transactions_left  numeric(78, 0) CHECK (transactions_left >= 0),
    left_s             numeric(78, 0) CHECK (left_s >= 0),
    at                 timestamptz NOT NULL,
    PRIMARY KEY (chain_id, address),
    FOREIGN KEY (chain_id, address) REFERENCES bridge.signer
);

-- What people are asked to approve before there is a nonce: operations in an order, until when. The hash (EIP-712)
-- says all of it. As long as an intent is not used up or over, no other transaction takes its operations.
CREATE TABLE bridge.intent (
    intent_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id       bigint NOT NULL,
    signer         bytea NOT NULL,
    hash           bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    purpose        text NOT NULL CHECK (purpose IN ('mint', 'settle', 'reject', 'void')),
    token          bytea NOT NULL CHECK (octet_length(token) = 20),
    function       text NOT NULL,
    ids_digest     bytea NOT NULL CHECK (octet_length(ids_digest) = 32),
    amount_minor   bigint NOT NULL CHECK (amount_minor >= 0),
    valid_until_s  bigint NOT NULL,
    state          text NOT NULL DEFAULT 'proposed'
        CHECK (state IN ('proposed', 'approved', 'rejected', 'expired', 'reopened', 'used')),
    reason         text,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    decided_at     timestamptz,
    FOREIGN KEY (chain_id, signer) REFERENCES bridge.signer
);
CREATE INDEX intent_live ON bridge.intent (chain_id, signer) WHERE state IN ('proposed', 'approved');
COMMENT ON COLUMN bridge.intent.state IS 'rejected: its operations wait until a person reopens it; expired: too late, or one of its operations cannot be carried out any more; then, and when it is reopened, they are free again; used: a nonce was given to it';

CREATE TABLE bridge.intent_operation (
    intent_id  bigint NOT NULL REFERENCES bridge.intent,
    op_id      bytea NOT NULL REFERENCES bridge.operation (op_id),
    place      integer NOT NULL,
    live       boolean NOT NULL DEFAULT true,
    PRIMARY KEY (intent_id, op_id)
);
CREATE UNIQUE INDEX intent_operation_live ON bridge.intent_operation (op_id) WHERE live;

CREATE TABLE bridge.intent_approval (
    intent_id    bigint NOT NULL REFERENCES bridge.intent,
    approver     text NOT NULL CHECK (approver <> ''),
    signature    bytea NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (intent_id, approver)
);

-- From which amount on people of ours must approve a mint, how many, and who may. The newest row of an account counts.
CREATE TABLE bridge.approval_rule (
    rule_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   text NOT NULL REFERENCES bank.account,
    above_minor  bigint CHECK (above_minor >= 0),
    needed       integer,
    approvers    text[],
    set_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (num_nulls(above_minor, needed, approvers) IN (0, 3)),
    CHECK (needed BETWEEN 1 AND cardinality(approvers))
);
CREATE VIEW bridge.approval_rule_now AS
    SELECT DISTINCT ON (account_id) * FROM bridge.approval_rule ORDER BY account_id, rule_id DESC;
COMMENT ON COLUMN bridge.approval_rule.above_minor IS 'null: from now on nobody has to approve';

CREATE TABLE bridge.tx (
    tx_id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id        bigint NOT NULL,
    signer          bytea NOT NULL,
    nonce           bigint NOT NULL CHECK (nonce >= 0),
    purpose         text NOT NULL CHECK (purpose IN ('mint', 'settle', 'reject', 'void', 'unknown')),
    to_address      bytea NOT NULL CHECK (octet_length(to_address) = 20),
    data            bytea NOT NULL,
    gas_limit       bigint NOT NULL CHECK (gas_limit BETWEEN 21000 AND 16777216),
    outcome         text CHECK (outcome IN ('success', 'reverted', 'cancelled', 'foreign')),
    outcome_hash    bytea CHECK (octet_length(outcome_hash) = 32),
    outcome_block   bigint,
    intent          bytea UNIQUE REFERENCES bridge.intent (hash),
    minted_minor    bigint CHECK (minted_minor > 0),
    resolved_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (chain_id, signer, nonce),
    FOREIGN KEY (chain_id, signer) REFERENCES bridge.signer,
    CHECK (num_nulls(outcome, outcome_block, resolved_at) IN (0, 3)),
    CHECK ((outcome_hash IS NOT NULL) = (coalesce(outcome, 'foreign') <> 'foreign'))
);
CREATE INDEX tx_recent ON bridge.tx (chain_id, signer, created_at);
CREATE INDEX tx_open ON bridge.tx (chain_id, signer, nonce) WHERE outcome IS NULL;
CREATE INDEX tx_minted ON bridge.tx (resolved_at) WHERE outcome = 'success' AND minted_minor IS NOT NULL;
CREATE INDEX tx_given_up ON bridge.tx (chain_id) WHERE outcome IS NULL AND purpose = 'unknown';
COMMENT ON COLUMN bridge.tx.purpose IS 'unknown: this database has lost what the nonce was used for, if it was; it is filled with a transaction that does nothing';
COMMENT ON COLUMN bridge.tx.outcome IS 'what a finalized block says: cancelled means that an attempt which does nothing took the nonce, foreign that a transaction did which is not in this journal';
COMMENT ON COLUMN bridge.tx.minted_minor IS 'what its operations mint together; null if it mints nothing';

-- Whether a transaction that this database has lost may have minted, or may still.
CREATE FUNCTION bridge.may_have_lost_mints(wanted_chain_id bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT ops.is_state_lost() OR NOT ops.is_known_database() OR EXISTS (
        SELECT FROM bridge.tx WHERE chain_id = wanted_chain_id AND purpose = 'unknown' AND outcome IS NULL)
$$;

-- What a transaction carries. An operation is carried by one transaction at a time, and let go of only when a
-- finalized block has shown that this one did nothing for it.
CREATE TABLE bridge.tx_operation (
    tx_id     bigint NOT NULL REFERENCES bridge.tx,
    op_id     bytea NOT NULL REFERENCES bridge.operation (op_id),
    released  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tx_id, op_id)
);
CREATE UNIQUE INDEX tx_operation_live ON bridge.tx_operation (op_id) WHERE NOT released;
CREATE INDEX tx_operation_released ON bridge.tx_operation (tx_id) WHERE released;

-- The intent to sign (fees) is committed first, the signed bytes second, and only then a broadcast. A cancelling
-- attempt takes the nonce with a transaction to the signer itself that does nothing.
CREATE TABLE bridge.tx_attempt (
    tx_id             bigint NOT NULL REFERENCES bridge.tx,
    attempt           integer NOT NULL CHECK (attempt > 0),
    cancels           boolean NOT NULL DEFAULT false,
    max_fee_wei       numeric(78, 0) NOT NULL CHECK (max_fee_wei >= 0),
    priority_fee_wei  numeric(78, 0) CHECK (priority_fee_wei BETWEEN 0 AND max_fee_wei),
    refused           text CHECK (refused <> ''),
    raw               bytea,
    hash              bytea UNIQUE CHECK (octet_length(hash) = 32),
    sends             integer NOT NULL DEFAULT 0,
    last_sent_at      timestamptz,
    last_answer       text,
    last_verdict      text CHECK (last_verdict <> ''),
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tx_id, attempt),
    CHECK (num_nulls(raw, hash) IN (0, 2)),
    CHECK (raw IS NULL OR refused IS NULL),
    CHECK (raw IS NOT NULL OR sends = 0)
);
CREATE INDEX tx_attempt_unsigned ON bridge.tx_attempt (tx_id) WHERE raw IS NULL AND refused IS NULL;
COMMENT ON COLUMN bridge.tx_attempt.priority_fee_wei IS 'null on a chain without a base fee: max_fee_wei is then the gas price';
COMMENT ON COLUMN bridge.tx_attempt.last_verdict IS 'what bridge/sending.py made of the last answer';
COMMENT ON COLUMN bridge.tx_attempt.refused IS 'why custody will never sign this attempt';

-- Whether a block of ours holds a log of one of a transaction's attempts. Asked of few transactions, one by one.
CREATE FUNCTION bridge.is_in_a_block(carrier bridge.tx) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM bridge.tx_attempt a
        WHERE a.tx_id = carrier.tx_id AND (
            SELECT l.canonical FROM chain.log l
            WHERE l.tx_hash = a.hash AND l.canonical AND l.chain_id = carrier.chain_id LIMIT 1))
$$;

-- What custody was asked to sign, by its own log outside this database, and this journal does not know.
CREATE TABLE bridge.lost_payload (
    chain_id  bigint NOT NULL,
    signer    bytea NOT NULL,
    nonce     bigint NOT NULL CHECK (nonce >= 0),
    payload   bytea NOT NULL CHECK (octet_length(payload) = 32),
    proposal  bytea NOT NULL REFERENCES ops.resume_proposal,
    PRIMARY KEY (chain_id, signer, nonce, payload),
    FOREIGN KEY (chain_id, signer) REFERENCES bridge.signer
);
COMMENT ON COLUMN bridge.lost_payload.proposal IS 'what two people have agreed to go on with in spite of it';

-- How much may be minted: by one signer, or for one bank account by all of them. The newest row of each counts.
CREATE TABLE bridge.mint_limit (
    limit_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id         bigint,
    signer           bytea,
    account_id       text REFERENCES bank.account,
    operation_minor  bigint CHECK (operation_minor >= 0),
    hour_minor       bigint CHECK (hour_minor >= 0),
    day_minor        bigint CHECK (day_minor >= 0),
    set_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (chain_id, signer) REFERENCES bridge.signer,
    CHECK ((chain_id IS NULL) = (signer IS NULL)),
    CHECK ((signer IS NULL) <> (account_id IS NULL))
);
CREATE VIEW bridge.mint_limit_now AS
    SELECT DISTINCT ON (chain_id, signer, account_id) * FROM bridge.mint_limit
    ORDER BY chain_id, signer, account_id, limit_id DESC;

-- What was minted lately, by a signer or for an account: what is in flight, and what became final within the last hour
-- and the last day. A mint counts from its taking until an hour (a day) after its block was final, so no hour of the
-- chain's own holds more than an hour's limit. Only transactions before "below_tx" are counted, all if it is null.
CREATE FUNCTION bridge.minted(a_chain bigint, a_signer bytea, an_account text, below_tx bigint,
                              OUT hour_minor numeric, OUT day_minor numeric) LANGUAGE sql STABLE AS $$
    WITH counted AS (
        SELECT t.resolved_at, t.minted_minor - coalesce((
                   SELECT sum(o.amount_minor) FROM bridge.tx_operation l JOIN bridge.operation o USING (op_id)
                   WHERE l.tx_id = t.tx_id AND l.released), 0) AS amount_minor
        FROM bridge.tx t JOIN bridge.token b ON b.chain_id = t.chain_id AND b.address = t.to_address
        WHERE t.minted_minor IS NOT NULL AND (below_tx IS NULL OR t.tx_id < below_tx)
          AND (t.outcome IS NULL
               OR t.outcome = 'success' AND t.resolved_at > now() - interval '24 hours')
          AND (a_signer IS NULL OR t.signer = a_signer AND t.chain_id = a_chain)
          AND (an_account IS NULL OR b.account_id = an_account))
    SELECT coalesce(sum(amount_minor) FILTER (
               WHERE resolved_at IS NULL OR resolved_at > now() - interval '1 hour'), 0),
           coalesce(sum(amount_minor), 0)
    FROM counted
$$;

-- Only whoever works a signer's lane may give out its nonces.
CREATE FUNCTION bridge.require_lane(signer bytea) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('landbridge.fence', true) IS DISTINCT FROM 'submit:0x' || encode(signer, 'hex') THEN
        RAISE EXCEPTION 'the nonces of signer 0x% are given out under the fence of its own lane', encode(signer, 'hex')
            USING ERRCODE = 'LB001';
    END IF;
END $$;

CREATE FUNCTION bridge.guard_tx() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lane bridge.signer;
BEGIN
    PERFORM bridge.require_lane(new.signer);
    IF tg_op = 'INSERT' THEN
        IF new.purpose = 'unknown' AND NOT ops.is_state_lost() THEN
            RAISE EXCEPTION 'a nonce is given up only where a state loss has halted money'
                USING ERRCODE = 'integrity_constraint_violation';
        ELSIF new.purpose <> 'unknown'
              AND (ops.is_halted('money') OR new.purpose = 'mint' AND ops.is_halted('mint')) THEN
            RAISE EXCEPTION 'the gate for a % transaction is closed', new.purpose USING ERRCODE = 'LB003';
        END IF;
        SELECT * INTO lane FROM bridge.signer WHERE chain_id = new.chain_id AND address = new.signer;
        IF lane.state = 'retired' OR lane.state <> 'active' AND new.purpose <> 'unknown' THEN
            RAISE EXCEPTION 'signer % is %', lane.name, lane.state USING ERRCODE = 'integrity_constraint_violation';
        ELSIF new.nonce >= lane.next_nonce OR num_nonnulls(new.outcome, new.minted_minor, new.resolved_at) > 0
              OR new.nonce > 0 AND NOT EXISTS (
            SELECT FROM bridge.tx t WHERE t.chain_id = new.chain_id AND t.signer = new.signer AND t.nonce = new.nonce - 1
        ) THEN
            RAISE EXCEPTION 'nonce % was not allocated: signer % is at %', new.nonce, lane.name, lane.next_nonce
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN new;
    END IF;
    IF (old.tx_id, old.chain_id, old.signer, old.nonce, old.purpose, old.to_address, old.data, old.gas_limit, old.intent)
       IS DISTINCT FROM
       (new.tx_id, new.chain_id, new.signer, new.nonce, new.purpose, new.to_address, new.data, new.gas_limit, new.intent)
       OR old.outcome IS NOT NULL AND (old.outcome, old.outcome_hash, old.outcome_block)
          IS DISTINCT FROM (new.outcome, new.outcome_hash, new.outcome_block)
       OR old.minted_minor IS NOT NULL AND old.minted_minor IS DISTINCT FROM new.minted_minor THEN
        RAISE EXCEPTION 'transaction % is journalled: only its outcome may be added, once', old.tx_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    new.resolved_at := CASE WHEN old.outcome IS NULL AND new.outcome IS NOT NULL THEN clock_timestamp()
                       ELSE old.resolved_at END;
    IF new.outcome = 'foreign' AND (
        new.purpose <> 'unknown' AND NOT ops.is_state_lost() OR NOT EXISTS (
            SELECT FROM chain.cursor c WHERE c.chain_id = new.chain_id AND new.outcome_block <= c.finalized_number)) THEN
        RAISE EXCEPTION 'transaction %: that its nonce went elsewhere is a state loss, and told by a finalized block',
            old.tx_id USING ERRCODE = 'integrity_constraint_violation';
    ELSIF new.outcome <> 'foreign' AND NOT EXISTS (
        SELECT FROM bridge.tx_attempt a, chain.cursor c
        WHERE a.tx_id = new.tx_id AND a.hash = new.outcome_hash AND a.cancels = (new.outcome = 'cancelled')
          AND c.chain_id = new.chain_id AND new.outcome_block <= c.finalized_number) THEN
        RAISE EXCEPTION 'transaction %: an outcome needs one of its own attempts in a finalized block', new.tx_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- Nonces may be taken many at a time; at the commit each of them is in the journal.
CREATE FUNCTION bridge.guard_signer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' OR new.next_nonce <> old.next_nonce THEN
        PERFORM bridge.require_lane(new.address);
    END IF;
    IF tg_op = 'INSERT' THEN
        RETURN new;
    END IF;
    IF new.next_nonce < old.next_nonce
       OR (old.chain_id, old.address, old.name) IS DISTINCT FROM (new.chain_id, new.address, new.name)
       OR old.state = 'retired' AND new.state <> 'retired' OR old.state = 'active' AND new.state = 'retired' THEN
        RAISE EXCEPTION 'signer 0x%: its nonces only rise, it drains before it retires, and then stays retired',
            encode(old.address, 'hex')
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF new.state = 'retired' AND EXISTS (
        SELECT FROM bridge.tx t WHERE t.chain_id = new.chain_id AND t.signer = new.address AND t.outcome IS NULL) THEN
        RAISE EXCEPTION 'signer % still has transactions without an outcome', new.name
            USING ERRCODE = 'integrity_constraint_violation';
    ELSIF new.state = 'retired' AND EXISTS (
        SELECT FROM bridge.intent i
        WHERE i.chain_id = new.chain_id AND i.signer = new.address AND i.state IN ('proposed', 'approved')) THEN
        RAISE EXCEPTION 'signer % still has intents, which its lane ends', new.name
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE FUNCTION bridge.check_nonces() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM bridge.tx t WHERE t.chain_id = new.chain_id AND t.signer = new.address
                   AND t.nonce = new.next_nonce - 1) THEN
        RAISE EXCEPTION 'signer %: nonce % was taken, and no transaction has it', new.name, new.next_nonce - 1
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

-- The events by which the token says that it passed over a part of a batch.
CREATE TABLE bridge.refusal_topic (
    topic    bytea PRIMARY KEY CHECK (octet_length(topic) = 32),
    purpose  text NOT NULL CHECK (purpose IN ('mint', 'settle'))
);
INSERT INTO bridge.refusal_topic (topic, purpose) VALUES
    ('\x1420858b9ff8d6afa603734cc009583b5a0c9548ab81fdbede3a7a6111cd612c', 'mint'),  -- MintRefused(bytes32,address,bytes4)
    ('\x54b59a6e6f6dba1652d16cfe184e3d42f485e0be5ff8b114a04800987b35ad2e', 'settle');  -- SettleRefused(bytes32,address,bytes4)

-- What a finalized block says that the token did not do of a batch.
CREATE FUNCTION bridge.refused_by(carrier bridge.tx) RETURNS SETOF bytea LANGUAGE sql STABLE AS $$
    WITH told AS MATERIALIZED (
        SELECT l.topics[2] AS id FROM chain.log l
        WHERE l.chain_id = carrier.chain_id AND l.tx_hash = carrier.outcome_hash AND l.canonical
          AND l.block_number = carrier.outcome_block AND l.address = carrier.to_address
          AND l.topics[1] IN (SELECT topic FROM bridge.refusal_topic WHERE purpose = carrier.purpose))
    SELECT o.op_id FROM told JOIN bridge.operation o ON coalesce(o.redemption_id, o.op_id) = told.id
    JOIN bridge.tx_operation t ON t.tx_id = carrier.tx_id AND t.op_id = o.op_id
$$;

-- For all rows of a statement at once. Operations are locked before they are looked at.
CREATE FUNCTION bridge.guard_taken() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    PERFORM FROM bridge.operation o WHERE o.op_id IN (SELECT op_id FROM taken)
    ORDER BY o.operation_id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT tx_id FROM taken) k JOIN bridge.tx t USING (tx_id)
        JOIN bridge.token n ON n.chain_id = t.chain_id AND n.address = t.to_address AND n.kind = 'plain'
        WHERE (SELECT count(*) FROM bridge.tx_operation l WHERE l.tx_id = k.tx_id) > 1) THEN
        RAISE EXCEPTION 'a transaction to a plain token carries one operation: nothing else tells which one it was'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT k.op_id, o.state, t.purpose INTO wrong
    FROM taken k JOIN bridge.tx t USING (tx_id) JOIN bridge.operation o USING (op_id)
    WHERE k.released OR o.state <> CASE t.purpose WHEN 'mint' THEN 'reserved' WHEN 'settle' THEN 'booked'
                                                  WHEN 'void' THEN 'voiding' ELSE 'rejecting' END
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'operation 0x% is %: no % transaction may be made for it',
            encode(wrong.op_id, 'hex'), wrong.state, wrong.purpose USING ERRCODE = 'LB002';
    END IF;
    SELECT k.op_id INTO wrong
    FROM taken k JOIN bridge.tx t USING (tx_id)
    JOIN bridge.intent_operation l ON l.op_id = k.op_id AND l.live JOIN bridge.intent i USING (intent_id)
    WHERE i.hash IS DISTINCT FROM t.intent OR i.state <> 'approved' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'operation 0x% is in an intent that this transaction does not carry out, or that nobody has approved',
            encode(wrong.op_id, 'hex') USING ERRCODE = 'LB002';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION bridge.guard_tx_operation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    carrier bridge.tx;
BEGIN
    SELECT * INTO carrier FROM bridge.tx WHERE tx_id = new.tx_id;
    IF (old.tx_id, old.op_id) IS DISTINCT FROM (new.tx_id, new.op_id) OR old.released AND NOT new.released
       OR new.released AND NOT old.released AND coalesce(carrier.outcome, '') NOT IN ('reverted', 'cancelled', 'foreign')
          AND NOT (carrier.outcome IS NOT DISTINCT FROM 'success' AND new.op_id IN (SELECT bridge.refused_by(carrier))) THEN
        RAISE EXCEPTION 'operation 0x% keeps its nonce until a finalized block shows that nothing was done for it',
            encode(old.op_id, 'hex') USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- An intent changes its state as listed, under the fence of its lane; that a rejected one is reopened is said by a
-- person.
CREATE FUNCTION bridge.guard_intent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        PERFORM bridge.require_lane(new.signer);
        IF new.state <> 'proposed' THEN
            RAISE EXCEPTION 'an intent begins as proposed' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN new;
    END IF;
    IF to_jsonb(old) - '{state,reason,decided_at}'::text[] IS DISTINCT FROM
       to_jsonb(new) - '{state,reason,decided_at}'::text[]
       OR (old.state, new.state) NOT IN (('proposed', 'approved'), ('proposed', 'rejected'), ('proposed', 'expired'),
                                         ('approved', 'used'), ('approved', 'expired'), ('rejected', 'reopened')) THEN
        RAISE EXCEPTION 'intent % is %: it does not become %', old.intent_id, old.state, new.state
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF new.state <> 'reopened' THEN
        PERFORM bridge.require_lane(new.signer);
    END IF;
    new.decided_at := clock_timestamp();
    RETURN new;
END $$;

CREATE FUNCTION bridge.free_intended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bridge.intent_operation SET live = false WHERE intent_id = new.intent_id AND live;
    RETURN NULL;
END $$;

CREATE FUNCTION bridge.guard_intent_operation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        IF NOT new.live OR EXISTS (SELECT FROM bridge.tx_operation t WHERE t.op_id = new.op_id AND NOT t.released) THEN
            RAISE EXCEPTION 'operation 0x% has a transaction already', encode(new.op_id, 'hex') USING ERRCODE = 'LB002';
        END IF;
    ELSIF (old.intent_id, old.op_id, old.place) IS DISTINCT FROM (new.intent_id, new.op_id, new.place)
          OR new.live AND NOT old.live
          OR NOT EXISTS (SELECT FROM bridge.intent i WHERE i.intent_id = new.intent_id
                         AND i.state IN ('used', 'expired', 'reopened')) THEN
        RAISE EXCEPTION 'operation 0x% stays in its intent until that is over', encode(old.op_id, 'hex')
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- Whoever approves does so before anything is decided.
CREATE FUNCTION bridge.guard_intent_approval() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM bridge.intent i WHERE i.intent_id = new.intent_id AND i.state = 'proposed' FOR SHARE) THEN
        RAISE EXCEPTION 'intent % is decided, or there is none', new.intent_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- No mint above an account's amount without so many approvals, by different people who are named for it.
CREATE FUNCTION bridge.guard_approvals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM taken k JOIN bridge.tx t USING (tx_id) JOIN bridge.operation o USING (op_id)
        JOIN bridge.approval_rule_now r USING (account_id)
        WHERE t.purpose = 'mint' AND o.amount_minor > r.above_minor
          AND (SELECT count(*) FROM bridge.intent i JOIN bridge.intent_approval a USING (intent_id)
               WHERE i.hash = t.intent AND a.approver = ANY (r.approvers)) < r.needed) THEN
        RAISE EXCEPTION 'a mint of this amount needs approvals that are not there: see bridge.approval_rule'
            USING ERRCODE = 'LB002';
    END IF;
    RETURN NULL;
END $$;

-- A transaction that carries out an intent carries all of its operations and no others.
CREATE FUNCTION bridge.guard_carried() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT tx_id FROM taken) k JOIN bridge.tx t USING (tx_id)
        JOIN bridge.intent i ON i.hash = t.intent
        WHERE (SELECT array_agg(l.op_id ORDER BY l.op_id) FROM bridge.tx_operation l WHERE l.tx_id = t.tx_id)
              IS DISTINCT FROM
              (SELECT array_agg(l.op_id ORDER BY l.op_id) FROM bridge.intent_operation l WHERE l.intent_id = i.intent_id)) THEN
        RAISE EXCEPTION 'a transaction carries exactly what the intent that it carries out says'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

-- Whatever the settings of a daemon say, and however many lanes take at once, no limit is passed.
CREATE FUNCTION bridge.guard_limits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    subject record;
    bound   bridge.mint_limit_now;
    lately  record;
BEGIN
    UPDATE bridge.tx t SET minted_minor = s.amount_minor
    FROM (SELECT k.tx_id, sum(o.amount_minor) AS amount_minor FROM taken k JOIN bridge.operation o USING (op_id)
          GROUP BY k.tx_id) s
    WHERE t.tx_id = s.tx_id AND t.purpose = 'mint';
    FOR subject IN
        SELECT t.chain_id, t.signer, o.account_id, max(o.amount_minor) AS largest_minor
        FROM taken k JOIN bridge.tx t USING (tx_id) JOIN bridge.operation o USING (op_id)
        WHERE t.purpose = 'mint' GROUP BY t.chain_id, t.signer, o.account_id
    LOOP
        -- Those that mint for the same account take turns until they commit.
        IF EXISTS (SELECT FROM bridge.mint_limit_now l
                   WHERE l.account_id = subject.account_id AND num_nonnulls(l.hour_minor, l.day_minor) > 0) THEN
            PERFORM FROM bank.account a WHERE a.account_id = subject.account_id FOR NO KEY UPDATE;
        END IF;
        FOR bound IN
            SELECT * FROM bridge.mint_limit_now l
            WHERE l.account_id = subject.account_id OR l.chain_id = subject.chain_id AND l.signer = subject.signer
        LOOP
            CONTINUE WHEN num_nonnulls(bound.operation_minor, bound.hour_minor, bound.day_minor) = 0;
            SELECT * INTO lately FROM bridge.minted(bound.chain_id, bound.signer, bound.account_id, NULL);
            IF subject.largest_minor > bound.operation_minor OR lately.hour_minor > bound.hour_minor
               OR lately.day_minor > bound.day_minor THEN
                RAISE EXCEPTION 'this would mint more than % may: see bridge.mint_limit %',
                    coalesce('account ' || bound.account_id, 'signer 0x' || encode(bound.signer, 'hex')), bound.limit_id
                    USING ERRCODE = 'LB007';
            END IF;
        END LOOP;
    END LOOP;
    RETURN NULL;
END $$;

CREATE FUNCTION bridge.guard_tx_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (old.tx_id, old.attempt, old.cancels, old.max_fee_wei, old.priority_fee_wei)
       IS DISTINCT FROM (new.tx_id, new.attempt, new.cancels, new.max_fee_wei, new.priority_fee_wei)
       OR old.raw IS NOT NULL AND (old.raw, old.hash) IS DISTINCT FROM (new.raw, new.hash)
       OR old.refused IS NOT NULL AND old.refused IS DISTINCT FROM new.refused
       OR new.sends < old.sends THEN
        RAISE EXCEPTION 'attempt % of transaction % is journalled and never changes', old.attempt, old.tx_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON bridge.tx
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_tx();
CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON bridge.signer
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_signer();
CREATE CONSTRAINT TRIGGER c_nonces AFTER UPDATE OF next_nonce ON bridge.signer DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (new.next_nonce > old.next_nonce) EXECUTE FUNCTION bridge.check_nonces();
CREATE TRIGGER b_guard BEFORE UPDATE ON bridge.tx_operation
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_tx_operation();
CREATE TRIGGER b_taken AFTER INSERT ON bridge.tx_operation REFERENCING NEW TABLE AS taken
    FOR EACH STATEMENT EXECUTE FUNCTION bridge.guard_taken();
CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON bridge.intent
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_intent();
CREATE TRIGGER c_free AFTER UPDATE OF state ON bridge.intent
    FOR EACH ROW WHEN (new.state IN ('used', 'expired', 'reopened')) EXECUTE FUNCTION bridge.free_intended();
CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON bridge.intent_operation
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_intent_operation();
CREATE TRIGGER append_only BEFORE UPDATE ON bridge.intent_approval
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER b_guard BEFORE INSERT ON bridge.intent_approval
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_intent_approval();
CREATE TRIGGER append_only BEFORE UPDATE ON bridge.approval_rule
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();
CREATE TRIGGER c_approvals AFTER INSERT ON bridge.tx_operation REFERENCING NEW TABLE AS taken
    FOR EACH STATEMENT EXECUTE FUNCTION bridge.guard_approvals();
CREATE TRIGGER c_carried AFTER INSERT ON bridge.tx_operation REFERENCING NEW TABLE AS taken
    FOR EACH STATEMENT EXECUTE FUNCTION bridge.guard_carried();
CREATE TRIGGER c_limits AFTER INSERT ON bridge.tx_operation REFERENCING NEW TABLE AS taken
    FOR EACH STATEMENT EXECUTE FUNCTION bridge.guard_limits();
CREATE TRIGGER b_guard BEFORE UPDATE ON bridge.tx_attempt
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_tx_attempt();
CREATE TRIGGER append_only BEFORE UPDATE ON bridge.mint_limit
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

DO $$
DECLARE
    journal text;
BEGIN
    FOREACH journal IN ARRAY ARRAY['signer', 'signer_balance', 'tx', 'tx_operation', 'tx_attempt', 'lost_payload', 'mint_limit',
                                   'intent', 'intent_operation', 'intent_approval', 'approval_rule'] LOOP
        EXECUTE format('CREATE TRIGGER no_delete BEFORE DELETE ON bridge.%I
                        FOR EACH ROW EXECUTE FUNCTION ops.refuse_change()', journal);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON bridge.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()', journal);
    END LOOP;
END $$;

-- Whether a signer works, who approves an intent, and that a rejected one is reopened, is what people say; everything
-- else is a lane's.
CREATE TRIGGER a_fenced BEFORE INSERT OR UPDATE OF chain_id, address, name, next_nonce ON bridge.signer
    FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence('submit');
DO $$
DECLARE
    journal text;
BEGIN
    FOREACH journal IN ARRAY ARRAY['signer_balance', 'tx', 'tx_operation', 'tx_attempt', 'lost_payload', 'mint_limit',
                                   'approval_rule'] LOOP
        EXECUTE format('CREATE TRIGGER a_fenced BEFORE INSERT OR UPDATE ON bridge.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence(''submit'')', journal);
    END LOOP;
    FOREACH journal IN ARRAY ARRAY['intent', 'intent_operation'] LOOP
        EXECUTE format('CREATE TRIGGER a_fenced BEFORE INSERT ON bridge.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence(''submit'')', journal);
    END LOOP;
END $$;
