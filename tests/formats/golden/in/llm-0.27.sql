CREATE TABLE "attachments" (
   "id" TEXT PRIMARY KEY,
   "type" TEXT,
   "path" TEXT,
   "url" TEXT,
   "content" BLOB
);
INSERT INTO "attachments" VALUES ('6b7fa434f92a8b80aab02d9bf1a12e49ffcae424e4013a1c4f68b67e3d2bbcd0', 'image/png', '/home/alice/dot.png', NULL, NULL);
CREATE TABLE "conversations" (
   "id" TEXT PRIMARY KEY,
   "name" TEXT,
   "model" TEXT
);
INSERT INTO "conversations" VALUES ('01m7ym6q1p4tjjhyh8d4w0wgv1', 'Greet me', 'fake');
INSERT INTO "conversations" VALUES ('01m7ym6s3630601xgnm5mk7dqc', 'Add 2 and 3', 'fake');
INSERT INTO "conversations" VALUES ('01m7ym6vhz5fy7ytqxgx29dejz', 'What is it?', 'fake');
INSERT INTO "conversations" VALUES ('01m7ym6y30r24xjs9564d5tjgk', 'The harbour opens at nine. The …', 'fake');
CREATE TABLE "fragments" (
   "id" INTEGER PRIMARY KEY,
   "hash" TEXT,
   "content" TEXT,
   "datetime_utc" TEXT,
   "source" TEXT
);
INSERT INTO "fragments" VALUES (1, 'f3a195b2f8f995ad4ecdf4d0a25d009c05ed5e611db7f6eaf6c9107b5ada3ecf', 'The harbour opens at nine.
The harbour opens at nine.
The harbour opens at nine.
', '2026-11-21 08:40:19', '/home/alice/frag.txt');
CREATE TABLE "prompt_attachments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "attachment_id" TEXT REFERENCES "attachments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "attachment_id")
);
INSERT INTO "prompt_attachments" VALUES ('01m7ym6v8cm1p2gesmg8xkxs28', '6b7fa434f92a8b80aab02d9bf1a12e49ffcae424e4013a1c4f68b67e3d2bbcd0', 0);
CREATE TABLE "prompt_fragments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "fragment_id", "order")
);
INSERT INTO "prompt_fragments" VALUES ('01m7ym6xhevf4ad30zs4cdtsc2', 1, 0);
CREATE TABLE "responses" (
   "id" TEXT PRIMARY KEY,
   "model" TEXT,
   "prompt" TEXT,
   "system" TEXT,
   "prompt_json" TEXT,
   "options_json" TEXT,
   "response" TEXT,
   "response_json" TEXT,
   "conversation_id" TEXT REFERENCES "conversations"("id"),
   "duration_ms" INTEGER,
   "datetime_utc" TEXT,
   "input_tokens" INTEGER,
   "output_tokens" INTEGER,
   "token_details" TEXT,
   "schema_id" TEXT REFERENCES "schemas"("id")
, "resolved_model" TEXT);
INSERT INTO "responses" VALUES ('01m7ym6pvgc10w92m5tjxmf5ef', 'fake', 'Greet me', 'Be kind.', '{}', '{}', 'Hello there.', '{}', '01m7ym6q1p4tjjhyh8d4w0wgv1', 197, '2026-11-21T08:40:12.400861+00:00', 9, 3, NULL, NULL, NULL);
INSERT INTO "responses" VALUES ('01m7ym6qy1hpbwezhsr5xdn240', 'fake', 'What did I ask?', NULL, '{}', '{}', 'You asked for a greeting.', '{}', '01m7ym6q1p4tjjhyh8d4w0wgv1', 209, '2026-11-21T08:40:13.505224+00:00', 9, 3, NULL, NULL, NULL);
INSERT INTO "responses" VALUES ('01m7ym6s3ewm7e9rdj8bzf1wss', 'fake', 'Add 2 and 3', NULL, '{}', '{}', '', '{}', '01m7ym6s3630601xgnm5mk7dqc', 352, '2026-11-21T08:40:14.702394+00:00', 9, 3, NULL, NULL, NULL);
INSERT INTO "responses" VALUES ('01m7ym6seebpft862z0pfjjyx5', 'fake', '', NULL, '{}', '{}', 'Five.', '{}', '01m7ym6s3630601xgnm5mk7dqc', 55, '2026-11-21T08:40:15.054576+00:00', 9, 3, NULL, NULL, NULL);
INSERT INTO "responses" VALUES ('01m7ym6v8cm1p2gesmg8xkxs28', 'fake', 'What is it?', NULL, '{}', '{}', 'A dot.', '{}', '01m7ym6vhz5fy7ytqxgx29dejz', 302, '2026-11-21T08:40:16.908290+00:00', 9, 3, NULL, NULL, NULL);
INSERT INTO "responses" VALUES ('01m7ym6xhevf4ad30zs4cdtsc2', 'fake', 'When does it open?', NULL, '{}', '{}', 'At nine.', '{}', '01m7ym6y30r24xjs9564d5tjgk', 561, '2026-11-21T08:40:19.246929+00:00', 9, 3, NULL, NULL, NULL);
CREATE TABLE "system_fragments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "fragment_id", "order")
);
CREATE TABLE "tool_calls" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "arguments" TEXT,
   "tool_call_id" TEXT
);
INSERT INTO "tool_calls" VALUES (1, '01m7ym6s3ewm7e9rdj8bzf1wss', 1, 'add', '{"a": 2, "b": 3}', 'call_0');
CREATE TABLE "tool_results" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "output" TEXT,
   "tool_call_id" TEXT,
   "instance_id" INTEGER REFERENCES "tool_instances"("id")
, "exception" TEXT);
INSERT INTO "tool_results" VALUES (1, '01m7ym6seebpft862z0pfjjyx5', 1, 'add', '5', 'call_0', NULL, NULL);
