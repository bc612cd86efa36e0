SELECT id, day FROM bronze.t
