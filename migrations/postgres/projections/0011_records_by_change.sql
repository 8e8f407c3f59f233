-- Records are found by app and in the order of their changes: what a sync client asks for.
-- What old code sees: a column it neither reads nor writes, empty in what it writes; run `dramatis rebuild` once for
-- records folded by it.

-- the sync app the record belongs to: that of the client or of the tool that wrote it first; '' where nobody said
ALTER TABLE records ADD COLUMN app TEXT COLLATE "C" NOT NULL DEFAULT '';

CREATE INDEX records_by_change ON records (space_id, app, last_seq, table_name, record_id);
