// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Counters} from "../libraries/Counters.sol";
import {Exodus} from "./Exodus.sol";
import {Ledger} from "./Ledger.sol";
import {Seldom} from "./Seldom.sol";

/// @title What needs no hurry, in a contract of its own
/// @dev One contract's code may not be larger than 24,576 bytes. The rollup's constructor makes this one, and the rollup runs its code on the rollup's storage by
/// delegatecall. Its own storage is frozen and empty for ever, so that whoever calls it directly changes nothing and leaves no coin there. See `IRollup` for
/// what every function does.
contract Annex is Seldom, Exodus {
    using Counters for uint256;

    constructor(Settings memory settings) Ledger(settings) {
        counters = counters.freeze();
    }
}
