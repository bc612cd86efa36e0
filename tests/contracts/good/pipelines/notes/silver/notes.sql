SELECT n._payload_hash AS note_hash, n.content['item_id'] AS item_id, coalesce(k.kind, n.content['text']) AS text
FROM bronze.notes AS n LEFT JOIN reference.kinds AS k ON lower(trim(n.content['text'])) = k.spelling
