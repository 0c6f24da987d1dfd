"""What Landbridge does about the two ledgers: operations, payouts, mints, matching and proof."""
