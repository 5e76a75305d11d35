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
', '2026-11-21 08:39:49', '/home/alice/frag.txt');
CREATE TABLE "messages" (
   "hash" TEXT PRIMARY KEY,
   "parent_hash" TEXT REFERENCES "messages"("hash"),
   "role" TEXT,
   "provider_metadata" TEXT
);
INSERT INTO "messages" VALUES ('b2:47617401616f9125b986f59aa05a5c58', NULL, 'system', NULL);
INSERT INTO "messages" VALUES ('b2:9e7f61306feb61d351e78dd58a93f85a', 'b2:47617401616f9125b986f59aa05a5c58', 'user', NULL);
INSERT INTO "messages" VALUES ('b2:48630e99f15598a6a47384b6336c6edd', 'b2:9e7f61306feb61d351e78dd58a93f85a', 'assistant', NULL);
INSERT INTO "messages" VALUES ('b2:3f60012fe14110ca5042e7b647dd494f', 'b2:48630e99f15598a6a47384b6336c6edd', 'user', NULL);
INSERT INTO "messages" VALUES ('b2:aed0aff1648ed53320f316c79c2f734f', 'b2:3f60012fe14110ca5042e7b647dd494f', 'assistant', NULL);
INSERT INTO "messages" VALUES ('b2:e6efd0e10a0913666431ec12b229d95f', NULL, 'user', NULL);
INSERT INTO "messages" VALUES ('b2:2703715eea2b05b9c0439805bb5f7b4c', 'b2:e6efd0e10a0913666431ec12b229d95f', 'assistant', NULL);
INSERT INTO "messages" VALUES ('b2:e019aa08cb0c8e23d30ce10c32e75ac1', 'b2:2703715eea2b05b9c0439805bb5f7b4c', 'tool', NULL);
INSERT INTO "messages" VALUES ('b2:4e36ae6dcfe9e120fcd8e4ac6f3c2688', 'b2:e019aa08cb0c8e23d30ce10c32e75ac1', 'assistant', NULL);
INSERT INTO "messages" VALUES ('b2:3cf785bc9c9f31f88595e33665425481', NULL, 'user', NULL);
INSERT INTO "messages" VALUES ('b2:5032287943827e3a75c4a32e8c493148', 'b2:3cf785bc9c9f31f88595e33665425481', 'assistant', NULL);
INSERT INTO "messages" VALUES ('b2:6d327750edbfbb7ffad6d7c40ad57c58', NULL, 'user', NULL);
INSERT INTO "messages" VALUES ('b2:977a33b3eedf770b1decb21a325b7e0d', 'b2:6d327750edbfbb7ffad6d7c40ad57c58', 'assistant', NULL);
CREATE TABLE "part_attachments" (
   "part_id" INTEGER REFERENCES "parts"("id"),
   "attachment_id" TEXT REFERENCES "attachments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("part_id", "attachment_id", "order")
);
INSERT INTO "part_attachments" VALUES (11, '6b7fa434f92a8b80aab02d9bf1a12e49ffcae424e4013a1c4f68b67e3d2bbcd0', 0);
CREATE TABLE "part_fragments" (
   "part_id" INTEGER REFERENCES "parts"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("part_id", "fragment_id", "order")
);
INSERT INTO "part_fragments" VALUES (13, 1, 0);
CREATE TABLE "parts" (
   "id" INTEGER PRIMARY KEY,
   "message_hash" TEXT REFERENCES "messages"("hash"),
   "position" INTEGER,
   "type" TEXT,
   "tool_name" TEXT,
   "text" TEXT,
   "payload" TEXT
);
INSERT INTO "parts" VALUES (1, 'b2:47617401616f9125b986f59aa05a5c58', 0, 'text', NULL, 'Be kind.', NULL);
INSERT INTO "parts" VALUES (2, 'b2:9e7f61306feb61d351e78dd58a93f85a', 0, 'text', NULL, 'Greet me', NULL);
INSERT INTO "parts" VALUES (3, 'b2:48630e99f15598a6a47384b6336c6edd', 0, 'text', NULL, 'Hello there.', NULL);
INSERT INTO "parts" VALUES (4, 'b2:3f60012fe14110ca5042e7b647dd494f', 0, 'text', NULL, 'What did I ask?', NULL);
INSERT INTO "parts" VALUES (5, 'b2:aed0aff1648ed53320f316c79c2f734f', 0, 'text', NULL, 'You asked for a greeting.', NULL);
INSERT INTO "parts" VALUES (6, 'b2:e6efd0e10a0913666431ec12b229d95f', 0, 'text', NULL, 'Add 2 and 3', NULL);
INSERT INTO "parts" VALUES (7, 'b2:2703715eea2b05b9c0439805bb5f7b4c', 0, 'tool_call', 'add', NULL, '{"name": "add", "arguments": {"a": 2, "b": 3}, "tool_call_id": "call_0"}');
INSERT INTO "parts" VALUES (8, 'b2:e019aa08cb0c8e23d30ce10c32e75ac1', 0, 'tool_result', 'add', NULL, '{"name": "add", "output": "5", "tool_call_id": "call_0"}');
INSERT INTO "parts" VALUES (9, 'b2:4e36ae6dcfe9e120fcd8e4ac6f3c2688', 0, 'text', NULL, 'Five.', NULL);
INSERT INTO "parts" VALUES (10, 'b2:3cf785bc9c9f31f88595e33665425481', 0, 'text', NULL, 'What is it?', NULL);
INSERT INTO "parts" VALUES (11, 'b2:3cf785bc9c9f31f88595e33665425481', 1, 'attachment', NULL, NULL, '{"attachment": {"id": "6b7fa434f92a8b80aab02d9bf1a12e49ffcae424e4013a1c4f68b67e3d2bbcd0"}}');
INSERT INTO "parts" VALUES (12, 'b2:5032287943827e3a75c4a32e8c493148', 0, 'text', NULL, 'A dot.', NULL);
INSERT INTO "parts" VALUES (13, 'b2:6d327750edbfbb7ffad6d7c40ad57c58', 0, 'text', NULL, NULL, '{"text_ref": [{"fragment": 1}, {"literal": "\nWhen does it open?"}]}');
INSERT INTO "parts" VALUES (14, 'b2:977a33b3eedf770b1decb21a325b7e0d', 0, 'text', NULL, 'At nine.', NULL);
CREATE TABLE "prompt_attachments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "attachment_id" TEXT REFERENCES "attachments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "attachment_id")
);
CREATE TABLE "prompt_fragments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "fragment_id", "order")
);
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
, "resolved_model" TEXT, "reasoning" TEXT);
CREATE TABLE "system_fragments" (
   "response_id" TEXT REFERENCES "responses"("id"),
   "fragment_id" INTEGER REFERENCES "fragments"("id"),
   "order" INTEGER,
   PRIMARY KEY ("response_id", "fragment_id", "order")
);
CREATE TABLE "threads" (
   "id" TEXT PRIMARY KEY,
   "name" TEXT,
   "tip_message_hash" TEXT REFERENCES "messages"("hash"),
   "forked_from" TEXT REFERENCES "threads"("id"),
   "datetime_utc" TEXT
);
INSERT INTO "threads" VALUES ('01m7ym5n6fstez8840kg6wpps4', 'Greet me', 'b2:aed0aff1648ed53320f316c79c2f734f', NULL, '2026-11-21 08:39:38.364216+00:00');
INSERT INTO "threads" VALUES ('01m7ym5tcst9bbtjgwq2htx17w', 'Add 2 and 3', 'b2:4e36ae6dcfe9e120fcd8e4ac6f3c2688', NULL, '2026-11-21 08:39:43.732332+00:00');
INSERT INTO "threads" VALUES ('01m7ym5wz6cgra4994gz07wyj2', 'What is it?', 'b2:5032287943827e3a75c4a32e8c493148', NULL, '2026-11-21 08:39:46.083033+00:00');
INSERT INTO "threads" VALUES ('01m7ym60b0pftd1cd4bz6nvm60', 'The harbour opens at nine. The …', 'b2:977a33b3eedf770b1decb21a325b7e0d', NULL, '2026-11-21 08:39:49.649884+00:00');
CREATE TABLE "tool_calls" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "arguments" TEXT,
   "tool_call_id" TEXT
);
CREATE TABLE "tool_results" (
   "id" INTEGER PRIMARY KEY,
   "response_id" TEXT REFERENCES "responses"("id"),
   "tool_id" INTEGER REFERENCES "tools"("id"),
   "name" TEXT,
   "output" TEXT,
   "tool_call_id" TEXT,
   "instance_id" INTEGER REFERENCES "tool_instances"("id")
, "exception" TEXT);
CREATE TABLE "turns" (
   "id" TEXT PRIMARY KEY,
   "thread_id" TEXT REFERENCES "threads"("id"),
   "parent_message_hash" TEXT REFERENCES "messages"("hash"),
   "tip_message_hash" TEXT REFERENCES "messages"("hash"),
   "model" TEXT,
   "resolved_model" TEXT,
   "options_json" TEXT,
   "schema_id" TEXT REFERENCES "schemas"("id"),
   "input_tokens" INTEGER,
   "output_tokens" INTEGER,
   "token_details" TEXT,
   "duration_ms" INTEGER,
   "datetime_utc" TEXT
, "response_json" TEXT);
INSERT INTO "turns" VALUES ('01m7ym5n6mp538k2bn0br2849t', '01m7ym5n6fstez8840kg6wpps4', 'b2:9e7f61306feb61d351e78dd58a93f85a', 'b2:48630e99f15598a6a47384b6336c6edd', 'fake', NULL, NULL, NULL, 9, 3, NULL, 420, '2026-11-21T08:39:37.940672+00:00', '{}');
INSERT INTO "turns" VALUES ('01m7ym5r26c982d561qzqbbkza', '01m7ym5n6fstez8840kg6wpps4', 'b2:3f60012fe14110ca5042e7b647dd494f', 'b2:aed0aff1648ed53320f316c79c2f734f', 'fake', NULL, NULL, NULL, 9, 3, NULL, 251, '2026-11-21T08:39:40.870427+00:00', '{}');
INSERT INTO "turns" VALUES ('01m7ym5td7frj3bxmyxdjd1d4t', '01m7ym5tcst9bbtjgwq2htx17w', 'b2:e6efd0e10a0913666431ec12b229d95f', 'b2:2703715eea2b05b9c0439805bb5f7b4c', 'fake', NULL, NULL, NULL, 9, 3, NULL, 325, '2026-11-21T08:39:43.271562+00:00', '{}');
INSERT INTO "turns" VALUES ('01m7ym5tqdm9rn0y9twjh0x3dy', '01m7ym5tcst9bbtjgwq2htx17w', 'b2:e019aa08cb0c8e23d30ce10c32e75ac1', 'b2:4e36ae6dcfe9e120fcd8e4ac6f3c2688', 'fake', NULL, NULL, NULL, 9, 3, NULL, 134, '2026-11-21T08:39:43.597320+00:00', '{}');
INSERT INTO "turns" VALUES ('01m7ym5wzbtegajngwfw7tv1hm', '01m7ym5wz6cgra4994gz07wyj2', 'b2:3cf785bc9c9f31f88595e33665425481', 'b2:5032287943827e3a75c4a32e8c493148', 'fake', NULL, NULL, NULL, 9, 3, NULL, 182, '2026-11-21T08:39:45.899887+00:00', '{}');
INSERT INTO "turns" VALUES ('01m7ym60b1texx3ct6cw6yp00y', '01m7ym60b0pftd1cd4bz6nvm60', 'b2:6d327750edbfbb7ffad6d7c40ad57c58', 'b2:977a33b3eedf770b1decb21a325b7e0d', 'fake', NULL, NULL, NULL, 9, 3, NULL, 303, '2026-11-21T08:39:49.345971+00:00', '{}');
