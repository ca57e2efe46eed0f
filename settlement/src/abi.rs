//! The contracts as Rust types, generated from their compiled artifacts. Nothing of this leaves the crate.

ethers_contract::abigen!(
    RollupContract,
    "$CARGO_MANIFEST_DIR/abi/Rollup.json";

    Erc20Contract,
    r#"[
        function approve(address spender, uint256 amount) returns (bool)
        function balanceOf(address account) view returns (uint256)
        function mint(address to, uint256 amount)
    ]"#;
);

/// The development token, for its bytecode.
mod test_token {
    ethers_contract::abigen!(TestToken, "$CARGO_MANIFEST_DIR/abi/TestToken.json");
}

pub(crate) use test_token::TESTTOKEN_BYTECODE;
