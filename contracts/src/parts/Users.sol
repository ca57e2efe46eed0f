// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../IRollup.sol";
import {Bn254} from "../libraries/Bn254.sol";
import {Operations} from "../libraries/Operations.sol";
import {Queue} from "./Queue.sol";

interface IErc20 {
    function balanceOf(address account) external view returns (uint256);
}

/// @title What users do most: deposit and claim
abstract contract Users is Queue, IRollup {
    function deposit(uint256 key, address owner) external payable nonReentrant {
        if (msg.value < queueFee) revert WrongFee(msg.value, queueFee);
        enqueueDeposit(NATIVE, msg.value - queueFee, key, owner);
    }

    function depositToken(uint16 token, uint256 amount, uint256 key, address owner) external payable nonReentrant {
        if (msg.value != queueFee) revert WrongFee(msg.value, queueFee);
        address erc20 = tokenAddress[token];
        if (erc20 == address(0)) revert TokenNotListed(token);
        // what arrived counts, not what was asked for: some tokens take a fee
        uint256 before = IErc20(erc20).balanceOf(address(this));
        callToken(token, erc20, abi.encodeWithSignature("transferFrom(address,address,uint256)", msg.sender, address(this), amount));
        uint256 afterwards = IErc20(erc20).balanceOf(address(this));
        enqueueDeposit(token, afterwards > before ? afterwards - before : 0, key, owner);
    }

    function claim(uint16 token, address to) external nonReentrant {
        uint256 amount = claimable[token][msg.sender];
        if (amount == 0) revert NothingToClaim();
        if (to == address(0)) revert RecipientIsZero();
        uint256 held = escrow[token];
        if (amount > held) revert EscrowExceeded(token, amount, held);
        claimable[token][msg.sender] = 0;
        escrow[token] = held - amount;
        emit Claimed(msg.sender, token, amount, to);
        if (token == NATIVE) {
            payNative(to, amount);
        } else {
            callToken(token, tokenAddress[token], abi.encodeWithSignature("transfer(address,uint256)", to, amount));
        }
    }

    // ---- internals ----

    function enqueueDeposit(uint16 token, uint256 amount, uint256 key, address owner) private {
        if (key == 0 || key >= Bn254.R) revert KeyOutOfRange(key);
        if (owner == address(0)) revert OwnerIsZero();
        if (amount == 0) revert NothingDeposited();
        uint256 held = escrow[token];
        if (amount >= SUPPLY_CAP || held + amount >= SUPPLY_CAP) revert SupplyCapReached(token);
        escrow[token] = held + amount;
        enqueue(QueueEntry(Operations.DEPOSIT, msg.sender, token, uint112(amount), 0, owner, key));
    }

    /// Tokens that return nothing are taken at their word, unless their code is gone; anything but `true` is a refusal.
    function callToken(uint16 token, address erc20, bytes memory data) private {
        (bool ok, bytes memory answer) = erc20.call(data);
        bool agreed = answer.length == 0 ? erc20.code.length != 0 : answer.length >= 32 && uint256(bytes32(answer)) == 1;
        if (!ok || !agreed) revert TransferFailed(token);
    }
}
