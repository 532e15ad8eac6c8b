-- What is recorded keeps the rules of its time: changes what they are worth, lines how discounts lower their tax, credit
-- the time zone in which the days until its expiry are counted. The defaults are for processes of the version before.

SET LOCAL search_path = avoir;

ALTER TABLE changes ADD COLUMN rules integer NOT NULL DEFAULT 1;

-- Null: in the proportion of the line's own tax.
ALTER TABLE invoice_lines ADD COLUMN cost_tax bigint CHECK (cost_tax BETWEEN 0 AND cost);

ALTER TABLE entitlements ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC';
GRANT UPDATE (time_zone) ON entitlements TO avoir_service;

-- The event that declined a change while facts to come can turn it around; the credit that follows names it.
ALTER TABLE changes ADD COLUMN declined uuid;
ALTER TABLE entitlements ADD COLUMN overtakes uuid;
GRANT UPDATE (declined) ON changes TO avoir_service;
GRANT UPDATE (overtakes) ON entitlements TO avoir_service;

-- Who gave a grant by command: its event may come long after the command.
ALTER TABLE grants ADD COLUMN by_type text, ADD COLUMN by_id text;
