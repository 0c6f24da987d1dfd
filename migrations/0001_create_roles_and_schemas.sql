-- The daemon's role owns nothing: it may read, insert and update what it is granted, and can neither
-- drop a trigger nor delete a row. Readers see the schema v1 only. Roles belong to the whole cluster,
-- so a second database on the same server finds them there already.

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['landbridge_daemon', 'landbridge_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;

CREATE SCHEMA chain;
CREATE SCHEMA event;
CREATE SCHEMA event_part;
CREATE SCHEMA v1;
CREATE SCHEMA bank;
CREATE SCHEMA bridge;
CREATE SCHEMA ledger;
CREATE SCHEMA recon;
CREATE SCHEMA IF NOT EXISTS ops;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA chain, event, v1, bank, bridge, ledger, recon, ops TO landbridge_daemon;
GRANT USAGE ON SCHEMA v1 TO landbridge_reader;
GRANT SELECT ON ops.schema_version TO landbridge_daemon;

ALTER DEFAULT PRIVILEGES IN SCHEMA chain, event, bank, bridge, ledger, recon, ops
    GRANT SELECT, INSERT, UPDATE ON TABLES TO landbridge_daemon;
ALTER DEFAULT PRIVILEGES IN SCHEMA chain, bank, bridge, ledger, recon, ops
    GRANT USAGE ON SEQUENCES TO landbridge_daemon;
ALTER DEFAULT PRIVILEGES IN SCHEMA v1 GRANT SELECT ON TABLES TO landbridge_reader, landbridge_daemon;

-- One trigger function for every table whose rows are history.
CREATE FUNCTION ops.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % refused', tg_table_schema, tg_table_name, tg_op
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
