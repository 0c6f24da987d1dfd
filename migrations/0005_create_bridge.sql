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

CREATE TABLE bridge.transition (
    operation_id  bigint NOT NULL REFERENCES bridge.operation,
    version       integer NOT NULL,
    from_state    text NOT NULL,
    to_state      text NOT NULL,
    reason        text NOT NULL,
    at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (operation_id, version)
);

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
CREATE FUNCTION bridge.record_births() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bridge.transition (operation_id, version, from_state, to_state, reason)
    SELECT operation_id, version, '', state, reason FROM born;
    RETURN NULL;
END $$;

-- Its plan is kept, whatever the number of rows: compared each with each they would be a million for a thousand.
CREATE FUNCTION bridge.record_transitions() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
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
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (chain_id, signer, nonce),
    FOREIGN KEY (chain_id, signer) REFERENCES bridge.signer,
    CHECK (num_nulls(outcome, outcome_block) IN (0, 2)),
    CHECK ((outcome_hash IS NOT NULL) = (coalesce(outcome, 'foreign') <> 'foreign'))
);
CREATE INDEX tx_recent ON bridge.tx (chain_id, signer, created_at);
CREATE INDEX tx_open ON bridge.tx (chain_id, signer, nonce) WHERE outcome IS NULL;
CREATE INDEX tx_given_up ON bridge.tx (chain_id) WHERE outcome IS NULL AND purpose = 'unknown';
COMMENT ON COLUMN bridge.tx.purpose IS 'unknown: this database has lost what the nonce was used for, if it was; it is filled with a transaction that does nothing';
COMMENT ON COLUMN bridge.tx.outcome IS 'what a finalized block says: cancelled means that an attempt which does nothing took the nonce, foreign that a transaction did which is not in this journal';

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
        ELSIF new.nonce >= lane.next_nonce OR new.outcome IS NOT NULL OR new.nonce > 0 AND NOT EXISTS (
            SELECT FROM bridge.tx t WHERE t.chain_id = new.chain_id AND t.signer = new.signer AND t.nonce = new.nonce - 1
        ) THEN
            RAISE EXCEPTION 'nonce % was not allocated: signer % is at %', new.nonce, lane.name, lane.next_nonce
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN new;
    END IF;
    IF (old.tx_id, old.chain_id, old.signer, old.nonce, old.purpose, old.to_address, old.data, old.gas_limit)
       IS DISTINCT FROM
       (new.tx_id, new.chain_id, new.signer, new.nonce, new.purpose, new.to_address, new.data, new.gas_limit)
       OR old.outcome IS NOT NULL AND (old.outcome, old.outcome_hash, old.outcome_block)
          IS DISTINCT FROM (new.outcome, new.outcome_hash, new.outcome_block) THEN
        RAISE EXCEPTION 'transaction % is journalled: only its outcome may be added, once', old.tx_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
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
       OR old.state = 'retired' AND new.state <> 'retired' THEN
        RAISE EXCEPTION 'signer 0x%: its nonces only rise, and a retired one stays so', encode(old.address, 'hex')
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF new.state = 'retired' AND EXISTS (
        SELECT FROM bridge.tx t WHERE t.chain_id = new.chain_id AND t.signer = new.address AND t.outcome IS NULL) THEN
        RAISE EXCEPTION 'signer % still has transactions without an outcome', new.name
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

CREATE FUNCTION bridge.guard_tx_operation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    carrier bridge.tx;
    state_now text;
BEGIN
    SELECT * INTO carrier FROM bridge.tx WHERE tx_id = new.tx_id;
    IF tg_op = 'INSERT' THEN
        SELECT state INTO state_now FROM bridge.operation WHERE op_id = new.op_id FOR UPDATE;
        IF EXISTS (SELECT FROM bridge.tx_operation l WHERE l.tx_id = new.tx_id) AND EXISTS (
            SELECT FROM bridge.token t WHERE t.chain_id = carrier.chain_id AND t.address = carrier.to_address
            AND t.kind = 'plain') THEN
            RAISE EXCEPTION 'a transaction to a plain token carries one operation: nothing else tells which one it was'
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF new.released OR state_now IS DISTINCT FROM
           (CASE carrier.purpose WHEN 'mint' THEN 'reserved' WHEN 'settle' THEN 'booked' WHEN 'void' THEN 'voiding'
            ELSE 'rejecting' END) THEN
            RAISE EXCEPTION 'operation 0x% is %: no % transaction may be made for it',
                encode(new.op_id, 'hex'), state_now, carrier.purpose USING ERRCODE = 'LB002';
        END IF;
    ELSIF (old.tx_id, old.op_id) IS DISTINCT FROM (new.tx_id, new.op_id) OR old.released AND NOT new.released
          OR new.released AND NOT old.released AND coalesce(carrier.outcome, '') NOT IN ('reverted', 'cancelled', 'foreign')
             AND NOT (carrier.outcome IS NOT DISTINCT FROM 'success' AND new.op_id IN (SELECT bridge.refused_by(carrier))) THEN
        RAISE EXCEPTION 'operation 0x% keeps its nonce until a finalized block shows that nothing was done for it',
            encode(old.op_id, 'hex') USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
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
CREATE TRIGGER b_guard BEFORE INSERT OR UPDATE ON bridge.tx_operation
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_tx_operation();
CREATE TRIGGER b_guard BEFORE UPDATE ON bridge.tx_attempt
    FOR EACH ROW EXECUTE FUNCTION bridge.guard_tx_attempt();

DO $$
DECLARE
    journal text;
BEGIN
    FOREACH journal IN ARRAY ARRAY['signer', 'signer_balance', 'tx', 'tx_operation', 'tx_attempt', 'lost_payload'] LOOP
        EXECUTE format('CREATE TRIGGER a_fenced BEFORE INSERT OR UPDATE ON bridge.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence(''submit'')', journal);
        EXECUTE format('CREATE TRIGGER no_delete BEFORE DELETE ON bridge.%I
                        FOR EACH ROW EXECUTE FUNCTION ops.refuse_change()', journal);
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON bridge.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()', journal);
    END LOOP;
END $$;
