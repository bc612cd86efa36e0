SELECT id, i AS tag_index, tag
FROM (SELECT id, unnest(tags) AS tag, unnest(range(0, CAST(array_length(tags) AS BIGINT))) AS i FROM silver.items)
