-- Which bank entry belongs to which chain event, what does not fit, and the proof that both sides
-- agree. An entry cannot be allocated beyond its amount, an event not twice: the database refuses.

CREATE TABLE recon.match_group (
    group_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation_id  bigint NOT NULL REFERENCES bridge.operation,
    rule          text NOT NULL CHECK (rule IN ('op_id', 'end_to_end_id')),
    state         text NOT NULL CHECK (state IN ('proposed', 'soft', 'final', 'revoked')),
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX match_group_live ON recon.match_group (operation_id) WHERE state <> 'revoked';

CREATE TABLE recon.allocation (
    allocation_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id       bigint NOT NULL REFERENCES recon.match_group,
    entry_id       bigint REFERENCES bank.entry,
    chain_id       bigint,
    block_hash     bytea CHECK (octet_length(block_hash) = 32),
    log_index      integer,
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    live           boolean NOT NULL DEFAULT true,
    CHECK ((entry_id IS NULL) = (block_hash IS NOT NULL)),
    CHECK ((block_hash IS NULL) = (chain_id IS NULL) AND (block_hash IS NULL) = (log_index IS NULL))
);
CREATE UNIQUE INDEX allocation_event ON recon.allocation (chain_id, block_hash, log_index)
    WHERE live AND block_hash IS NOT NULL;
CREATE INDEX allocation_entry ON recon.allocation (entry_id) WHERE live;

CREATE FUNCTION recon.guard_allocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.live OR (old.group_id, old.entry_id, old.chain_id, old.block_hash, old.log_index, old.amount_minor)
       IS DISTINCT FROM (new.group_id, new.entry_id, new.chain_id, new.block_hash, new.log_index, new.amount_minor) THEN
        RAISE EXCEPTION 'an allocation may only be given up' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- For all rows of a statement at once. The entries are locked first, so that of two who allocate at the same time
-- the second one counts what the first one has taken; not wholly, as each has a share of them by its foreign key.
-- Planned while the table is small, and kept when it is not.
CREATE FUNCTION recon.check_allocated() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    beyond bigint;
BEGIN
    PERFORM FROM bank.entry e WHERE e.entry_id IN (SELECT w.entry_id FROM written w) ORDER BY e.entry_id FOR NO KEY UPDATE;
    SELECT e.entry_id INTO beyond FROM bank.entry e
    WHERE e.entry_id IN (SELECT w.entry_id FROM written w)
      AND e.amount_minor < (SELECT sum(a.amount_minor) FROM recon.allocation a WHERE a.entry_id = e.entry_id AND a.live)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % would be allocated beyond its amount', beyond
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION recon.guard_match_group() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.state IN ('final', 'revoked') OR old.operation_id <> new.operation_id THEN
        RAISE EXCEPTION 'match group % is %', old.group_id, old.state
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF new.state = 'revoked' THEN
        UPDATE recon.allocation SET live = false WHERE group_id = new.group_id AND live;
    END IF;
    new.updated_at := clock_timestamp();
    RETURN new;
END $$;

CREATE TABLE recon.break (
    break_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL CHECK (kind IN (
        'missing_bank', 'missing_chain', 'amount', 'currency', 'duplicate', 'late_funds', 'unregistered_burn',
        'unregistered_deposit', 'unauthorized_mint', 'reversal', 'statement_gap', 'balance_mismatch',
        'supply_mismatch', 'finality_violation', 'unreadable', 'policy', 'payout_refused', 'stuck',
        'no_funds', 'signer_low', 'spending', 'limit', 'approval')),
    severity      text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    subject       text NOT NULL CHECK (subject <> ''),
    detail        text NOT NULL CHECK (detail <> ''),
    operation_id  bigint REFERENCES bridge.operation,
    entry_id      bigint REFERENCES bank.entry,
    raw_id        bigint REFERENCES bank.raw,
    opened_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at     timestamptz,
    closed_why    text,
    CHECK ((closed_at IS NULL) = (closed_why IS NULL))
);
CREATE UNIQUE INDEX break_open ON recon.break (kind, subject) WHERE closed_at IS NULL;

CREATE FUNCTION recon.guard_break() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.closed_at IS NOT NULL OR (old.kind, old.subject, old.detail, old.opened_at)
       IS DISTINCT FROM (new.kind, new.subject, new.detail, new.opened_at) THEN
        RAISE EXCEPTION 'break % may only be closed, once', old.break_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END $$;

-- One row each time finalized advances: the terms of B = S − PNB + BNP + FNM + SUS + FEE − DEF as the
-- ledger has them, and what chain and bank said. Amounts in minor units of the currency.
CREATE TABLE recon.proof (
    proof_id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id            bigint NOT NULL,
    token               bytea NOT NULL,
    account_id          text NOT NULL,
    currency            text NOT NULL,
    block_number        bigint NOT NULL,
    block_hash          bytea NOT NULL CHECK (octet_length(block_hash) = 32),
    reserve_minor       bigint NOT NULL,
    supply_minor        numeric(78, 0) NOT NULL,
    paid_not_burned     bigint NOT NULL,
    burned_not_paid     bigint NOT NULL,
    funded_not_minted   bigint NOT NULL,
    suspense            bigint NOT NULL,
    fees                bigint NOT NULL,
    deficit             bigint NOT NULL,
    chain_supply        numeric(78, 0) NOT NULL,
    event_supply        numeric(78, 0) NOT NULL,
    bank_balance_minor  bigint,
    bank_sequence       bigint,
    verdict             text NOT NULL CHECK (verdict IN ('agree', 'stale', 'drift')),
    explanation         text NOT NULL,
    at                  timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (chain_id, token) REFERENCES bridge.token,
    CHECK (verdict = 'drift' OR reserve_minor = supply_minor - paid_not_burned + burned_not_paid
           + funded_not_minted + suspense + fees - deficit AND supply_minor = chain_supply
           AND supply_minor = event_supply)
);
CREATE INDEX proof_newest ON recon.proof (chain_id, token, proof_id DESC);

CREATE TRIGGER b_guard BEFORE UPDATE ON recon.allocation
    FOR EACH ROW EXECUTE FUNCTION recon.guard_allocation();
CREATE TRIGGER c_allocated AFTER INSERT ON recon.allocation REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION recon.check_allocated();
CREATE TRIGGER b_guard BEFORE UPDATE ON recon.match_group
    FOR EACH ROW EXECUTE FUNCTION recon.guard_match_group();
CREATE TRIGGER b_guard BEFORE UPDATE ON recon.break
    FOR EACH ROW EXECUTE FUNCTION recon.guard_break();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON recon.proof
    FOR EACH ROW EXECUTE FUNCTION ops.refuse_change();

DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['match_group', 'allocation', 'break'] LOOP
        EXECUTE format('CREATE TRIGGER no_delete BEFORE DELETE ON recon.%I
                        FOR EACH ROW EXECUTE FUNCTION ops.refuse_change()', kept);
    END LOOP;
    FOREACH kept IN ARRAY ARRAY['match_group', 'allocation', 'break', 'proof'] LOOP
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON recon.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.refuse_change()', kept);
        EXECUTE format('CREATE TRIGGER a_fenced BEFORE INSERT OR UPDATE ON recon.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION ops.require_fence(''operate'', ''submit'', ''reconcile'')', kept);
    END LOOP;
END $$;
