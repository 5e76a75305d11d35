BEGIN;
CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT NOT NULL, model TEXT, title TEXT, started_at REAL NOT NULL, ended_at REAL);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, role TEXT NOT NULL, content TEXT, tool_call_id TEXT, tool_calls TEXT, tool_name TEXT, timestamp REAL NOT NULL, finish_reason TEXT, reasoning TEXT);
INSERT INTO sessions VALUES ('20260105_100000_5a3e2ff1', 'cli', 'anthropic/claude-sonnet-4.5', 'Pond fish', 1767607200.5, 1767607209.5);
INSERT INTO messages VALUES (1, '20260105_100000_5a3e2ff1', 'user', 'What is it?', NULL, NULL, NULL, 1767607200.5, NULL, NULL);
INSERT INTO messages VALUES (2, '20260105_100000_5a3e2ff1', 'assistant', '', NULL, '[{"id": "t1", "type": "function", "function": {"name": "read", "arguments": "{}"}}]', NULL, 1767607201.5, 'tool_calls', 'A pond.');
INSERT INTO messages VALUES (3, '20260105_100000_5a3e2ff1', 'tool', 'water', 't1', NULL, 'read', 1767607202.5, NULL, NULL);
INSERT INTO messages VALUES (4, '20260105_100000_5a3e2ff1', 'assistant', 'Minnows.', NULL, NULL, NULL, 1767607203.5, 'stop', NULL);
COMMIT;
